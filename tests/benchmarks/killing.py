"""`stackpress serve` killed by kill -9 in the middle of writes, again and again, and started again each time.

Writers send each request under a key of its own until it is acknowledged, as `campaigns.client` does. After every kill
the ledger is read: whatever was acknowledged is there, no table is there in part, no cell twice, no revision is missing.
At the end nothing is there that was not acknowledged, and the jobs asked for on the way have come to their results.

STACKPRESS_BENCH_KILLS    how often (100)
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from campaigns.ledger import Ledger

from ..serving import CELLS, CONDITION, served
from ..waiting import free_port, until
from .ledger import row
from .load import UNLIMITED, built

KILLS = int(os.environ.get("STACKPRESS_BENCH_KILLS", "100"))
WRITERS, NAMES, GROUP = 6, ("a", "b"), 5
KILLED_AFTER_S = 1.5
KILLS_A_JOB = 10
JOBS_END_S = 600.0


def run() -> list[dict[str, Any]]:
    """KILLS kills."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # MLflow may still be written there
        return [killed(str(Path(folder) / "store"), KILLS)]


@dataclass
class Written:
    """What a writer was told: the campaign and key of each write, its cells; refusals; requests that were cut off."""

    keys: list[tuple[str, str]] = field(default_factory=list)
    cells: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    cut: int = 0


def killed(store: str, kills: int, seed: int = 0) -> dict[str, Any]:
    """The row of the report."""
    generator, ended, written = random.Random(seed), threading.Event(), [Written() for _ in range(WRITERS)]
    start, faults, jobs = time.perf_counter(), Counter[str](), list[str]()
    with tempfile.TemporaryFile() as log:
        serve = partial(served, store, *UNLIMITED, port=free_port(), log=log)
        with serve() as (client, _):
            _open(client)
            writers = [
                threading.Thread(target=_write, args=(str(client.base_url), number, ended, told), daemon=True)
                for number, told in enumerate(written)
            ]
        for writer in writers:
            writer.start()
        try:
            for number in range(kills):
                with serve() as (client, process):
                    if number % KILLS_A_JOB == 0:
                        jobs.append(_job(client, number))
                    time.sleep(generator.uniform(0.0, KILLED_AFTER_S))
                    process.kill()
                    process.wait()
                faults += _faults(store, written)
            with serve() as (client, _):
                ended.set()
                for writer in writers:
                    writer.join()
                until(lambda: not {"queued", "running"} & set(_states(client, jobs)), JOBS_END_S)
                faults += Counter(f"a job is {state}" for state in _states(client, jobs) if state != "done")
        finally:
            ended.set()
    faults += _faults(store, written, at_end=True)
    for fault, times in faults.most_common(20):
        print(f"{times} x {fault}", flush=True)
    acknowledged, cut = sum(len(each.keys) for each in written), sum(each.cut for each in written)
    found = f"{acknowledged} writes acknowledged, {cut} cut off and sent again, {len(jobs)} jobs done"
    found += f", {faults.total()} faults"
    holds = not faults and cut > 0 and acknowledged > 0
    return row(f"kill -9 of the service, {kills} times", found, holds, time.perf_counter() - start)


def _open(client: httpx.Client) -> None:
    for name in NAMES:
        opened = {"name": name, "condition": CONDITION, "history": "none"}
        client.post("/campaigns", json=opened).raise_for_status()
        client.post(f"/campaigns/{name}/cells", json={"cells": CELLS}).raise_for_status()


def _job(client: httpx.Client, seed: int) -> str:
    asked = client.post("/campaigns/a/plans", json={"cells": 3, "campaigns": 5, "seed": seed})
    return str(asked.raise_for_status().json()["id"])


def _states(client: httpx.Client, jobs: list[str]) -> list[str]:
    return [client.get(f"/jobs/{job}").raise_for_status().json()["state"] for job in jobs]


def _write(address: str, number: int, ended: threading.Event, written: Written) -> None:
    """Write until the end, and each request until it is acknowledged."""
    generator = random.Random(number)
    with httpx.Client(base_url=address, timeout=120) as client:
        for step in count():
            if ended.is_set():
                return
            name, stem = generator.choice(NAMES), f"w{number}-{step}"
            method, path, body, cells = _request(name, stem, generator, suggesting=number == 0)
            answer = _sent(client, method, path, body, stem, written)
            if answer.is_success:
                written.cells += [(name, cell_id) for cell_id in cells]
                written.keys.append((name, stem))
            else:
                written.refused.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")


def _request(
    name: str, stem: str, generator: random.Random, suggesting: bool
) -> tuple[str, str, dict[str, Any], list[str]]:
    """Method, path, body, and the cells it builds. Only one writer asks for answers: most take longer than a server
    lives here, and who waits for one writes nothing."""
    cell = {"pressure_kpa": 100, "status": "planned"}
    match generator.choices(["table", "record", "suggest"], [4, 5, suggesting])[0]:
        case "table":
            ids = [f"{stem}.{number}" for number in range(GROUP)]
            return "POST", f"/campaigns/{name}/cells", {"cells": [{"cell_id": each, **cell} for each in ids]}, ids
        case "record":
            return "PATCH", f"/campaigns/{name}/cells/{stem}", cell, [stem]
        case _:
            return "POST", f"/campaigns/{name}/suggestions", {"seed": generator.randrange(10**9)}, []


def _sent(client: httpx.Client, method: str, path: str, body: Any, key: str, written: Written) -> httpx.Response:
    while True:
        try:
            return client.request(method, path, json=body, headers={"Idempotency-Key": key})
        except httpx.ConnectError:  # not sent: nobody listens
            time.sleep(0.05)
        except httpx.TransportError:  # sent, perhaps carried out, and not answered
            written.cut += 1


def _faults(store: str, written: list[Written], at_end: bool = False) -> Counter[str]:
    """What is refused, lost, doubled or in part; and, at the end, what is there though nobody was told so."""
    told = {key for each in written for key in list(each.cells)}
    keys = {key for each in written for key in list(each.keys)}
    faults = Counter(refusal for each in written for refusal in list(each.refused)) if at_end else Counter[str]()
    with closing(Ledger.open(store)) as ledger:
        events = [event for name in NAMES for event in ledger.events(name)]
    there = Counter((event.campaign, cell_id) for event in events for cell_id in built(event))
    groups = Counter((name, cell_id.partition(".")[0]) for name, cell_id in there if "." in cell_id)
    faults["cells lost"] += len(told - there.keys())
    faults["writes lost"] += len(keys - {(event.campaign, event.key) for event in events})
    faults["cells doubled"] += sum(number > 1 for number in there.values())
    faults["tables in part"] += sum(number != GROUP for number in groups.values())
    for name in NAMES:
        revisions = [event.revision for event in events if event.campaign == name]
        faults["histories with a gap"] += revisions != list(range(1, len(revisions) + 1))
    if at_end:
        first = {(name, cell["cell_id"]) for name in NAMES for cell in CELLS}
        faults["cells unasked"] += len(there.keys() - told - first)
    return +faults
