"""`python -m tests.benchmarks [NAME ...]`: run the benchmarks named, or all, and keep what they measured.

Results go to build/bench/NAME.json; `report` turns them into a table and pictures and is not run unless named.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

from . import report
from .running import provenance
from .tables import plain, table

BENCHMARKS = (
    "speed",
    "commands",
    "ledger",
    "projection",
    "instruments",
    "diffraction",
    "simulation",
    "calibration",
    "censoring",
    "history",
    "structure",
    "choosing",
    "load",
    "killing",
    "fuzzing",
)
"""Modules of this package, each with a function `run` that gives rows."""


def main(names: list[str]) -> None:
    """Run and report."""
    for name in names or BENCHMARKS:
        if name == "report":
            report.write()
            continue
        start = time.perf_counter()
        rows: list[dict[str, Any]] = importlib.import_module(f"{__package__}.{name}").run()
        document = {"benchmark": name, "provenance": provenance(name, time.perf_counter() - start), "rows": rows}
        print(f"\n{name}: {document['provenance']}\n{table(rows)}", flush=True)
        report.RESULTS.mkdir(parents=True, exist_ok=True)
        (report.RESULTS / f"{name}.json").write_text(json.dumps(plain(document), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
