"""The service asked by schemathesis, over its whole OpenAPI: what the document allows, and what it does not.

Nothing may be answered 5xx, and every answer must be one that the document declares. One check is left out,
`positive_data_acceptance`: what a campaign allows (an id not used yet, one pair in it) a schema cannot say. Closing is
asked last, by itself: a closed campaign refuses nearly everything else, and little would be tried.

STACKPRESS_BENCH_EXAMPLES    cases an operation, at most (400)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from campaigns.ledger import Ledger
from campaigns.service.tokens import Role, Tokens

from ..serving import CELLS, CONDITION, bearer, served

EXAMPLES = int(os.environ.get("STACKPRESS_BENCH_EXAMPLES", "400"))
LEAST_CASES = 10_000
UNLIMITED = ("--requests-per-minute", "10000000", "--failures-per-minute", "10000000", "--longest-stream-s", "0")
CLOSING = "/close$"
ANSWERED = re.compile(r'^stackpress_requests_total\{.*status="(\d)\d\d"\} (\S+)$', re.MULTILINE)


def run() -> list[dict[str, Any]]:
    """One run of at least LEAST_CASES cases."""
    with tempfile.TemporaryDirectory() as folder:
        row = asked(str(Path(folder) / "store"), EXAMPLES, seed=0)
    return [{**row, "holds": row["holds"] and row["cases"] >= LEAST_CASES}]


def asked(store: str, examples: int, seed: int) -> dict[str, Any]:
    """Start a service of a store with one campaign and ask it."""
    token = Tokens(Ledger.open(store)).create("anna", Role.MANAGE)
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log, served(store, *UNLIMITED, log=log) as (client, _):
        client.headers.update(bearer(token))
        client.post("/campaigns", json={"name": "zn-ti", "condition": CONDITION}).raise_for_status()
        cells = [{**cell, "cell_id": f"zn-ti-{number:03d}"} for number, cell in enumerate(CELLS, 1)]
        client.post("/campaigns/zn-ti/cells", json={"cells": cells}).raise_for_status()
        options = ["-H", f"Authorization: Bearer {token}", "--max-examples", str(examples), "--seed", str(seed)]
        told = [
            _run(f"{client.base_url}/openapi.json", *options, which, CLOSING)
            for which in ("--exclude-path-regex", "--include-path-regex")
        ]
        answers = Counter[str]()
        for first, count in ANSWERED.findall(client.get("/metrics").text):
            answers[f"{first}xx"] += int(float(count))
        log.seek(0)
        faults = [line for line in log.read().decode().splitlines() if "a fault answering" in line]
    print(*faults[:20], sep="\n", file=sys.stderr)
    failures = sum(each["test_cases"]["unique_failures"] + len(each["errors"]) for each in told)
    return {
        "cases": sum(each["test_cases"]["generated"] for each in told),
        "operations": sum(each["operations"]["tested"] for each in told),
        "failures": failures,
        "faults": len(faults),
        **{f"answers {each}": answers[each] for each in ("2xx", "4xx", "5xx")},
        "s": time.perf_counter() - start,
        "holds": not failures and not faults and not answers["5xx"] and all(each["complete"] for each in told),
    }


def _run(*arguments: str) -> dict[str, Any]:
    """schemathesis's own account of a run."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "schemathesis.cli", "run", *arguments, "--no-color", "--continue-on-failure"]
        command += ["--exclude-checks", "positive_data_acceptance", "--generation-database", "none"]
        command += ["--request-timeout", "120"]
        command += ["--report", "json", "--report-json-path", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            print(done.stdout[-8000:], done.stderr[-2000:], file=sys.stderr)
        told: dict[str, Any] = json.loads(report.read_text())
        return told
