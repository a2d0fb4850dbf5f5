"""`stackpress serve` with many clients at once, over TCP: a lab's five minutes.

CAMPAIGNS campaigns in programmes of ten, with an answer each; CLIENTS clients that read, write and ask what to test
next in the SHARES of a lab, and think between an answer and the next request. Every write carries a key, and what was
acknowledged is compared with the ledger afterwards. Times are the client's: waiting and transport are in them.

STACKPRESS_BENCH_SECONDS    seconds of load (300)
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from campaigns.events import Event, in_force
from campaigns.ledger import Ledger
from campaigns.service.tokens import Role, Tokens
from campaigns.state import table_of

from ..serving import CELLS, CONDITION, bearer, served

SECONDS = float(os.environ.get("STACKPRESS_BENCH_SECONDS", "300"))
CAMPAIGNS, CLIENTS, PROGRAMME = 50, 16, 10
SETTINGS = ((2, 1.0, SECONDS), (1, 1.0, SECONDS), (2, 0.0, SECONDS / 5))
"""Workers, seconds that a client thinks on average (without thinking the service is saturated), seconds of load."""
READS_P99_S = 0.5
UNLIMITED = ("--requests-per-minute", "10000000")
READS = {
    "read campaigns": ("/campaigns", "/campaigns/{name}", "/campaigns/{name}/history"),
    "read cells": ("/campaigns/{name}/cells", "/campaigns/{name}/cells/c1"),
    "read suggestions": ("/campaigns/{name}/suggestions/latest",),
    "read figures": ("/campaigns/{name}/figure.png",),
    "read bench page": ("/bench/{name}",),
}
SHARES = {
    **dict(zip(READS, (25, 25, 15, 5, 10), strict=True)),
    "build a cell": 4,
    "patch a cell": 8,
    "add two cells": 3,
    "suggest": 5,
}
"""Of a hundred requests."""

CellKey = tuple[str, str]


def run() -> list[dict[str, Any]]:
    """The load, in each setting."""
    rows = []
    for workers, thinking_s, seconds in SETTINGS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # MLflow may still be written there
            rows += loaded(str(Path(folder) / "store"), seconds, workers, thinking_s)
    return rows


@dataclass
class Account:
    """What one client was told: seconds by kind of request, faults, and the hours of each cell that it wrote."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: Counter[str] = field(default_factory=Counter)
    hours: dict[CellKey, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request, and the hours of cells that it writes."""

    method: str
    path: str
    body: Any = None
    hours: Mapping[CellKey, float] = field(default_factory=dict)


def loaded(
    store: str, seconds: float, workers: int, thinking_s: float, campaigns: int = CAMPAIGNS, clients: int = CLIENTS
) -> list[dict[str, Any]]:
    """The load in one setting: a row for each kind of request, for all reads, and for what the ledger holds then."""
    names = [f"c{number:02d}" for number in range(campaigns)]
    tokens = [Tokens(Ledger.open(store)).create(f"user-{number}", Role.MANAGE) for number in range(clients)]
    accounts = [Account() for _ in tokens]
    with tempfile.TemporaryFile() as log, served(store, *UNLIMITED, "--workers", str(workers), log=log) as (client, _):
        client.headers.update(bearer(tokens[0]))
        for number, name in enumerate(names):
            _open(client, name, number)
        connect = partial(httpx.Client, base_url=client.base_url, timeout=120)
        end = time.monotonic() + seconds
        working = [
            threading.Thread(
                target=_work, args=(connect(headers=bearer(token)), names, end, thinking_s, number, account)
            )
            for number, (token, account) in enumerate(zip(tokens, accounts, strict=True))
        ]
        for each in working:
            each.start()
        for each in working:
            each.join()
    setting = f"{clients} clients that think {thinking_s:g} s, workers: {workers}"
    return [{"setting": setting, **row} for row in (*_times(accounts, seconds), _kept(store, names, accounts))]


def _open(client: httpx.Client, name: str, number: int) -> None:
    condition = {**CONDITION, "electrode_pair": f"Zn||M{number}"}
    opened = {"name": name, "condition": condition, "programme": f"p{number // PROGRAMME}"}
    client.post("/campaigns", json=opened).raise_for_status()
    client.post(f"/campaigns/{name}/cells", json={"cells": CELLS}).raise_for_status()
    client.post(f"/campaigns/{name}/suggestions", json={}).raise_for_status()


def _work(client: httpx.Client, names: list[str], end: float, thinking_s: float, number: int, account: Account) -> None:
    """One client until the end."""
    generator = random.Random(number)
    with client:
        for step in count():
            if time.monotonic() > end:
                return
            [what] = generator.choices(list(SHARES), list(SHARES.values()))
            asked = _request(what, generator.choice(names), f"w{number}-{step}", generator, account.hours)
            start = time.perf_counter()
            fault = _fault(client, asked, f"{number}-{step}")
            account.seconds[what].append(time.perf_counter() - start)
            if fault:
                account.faults[f"{what}: {fault}"] += 1
            else:
                account.hours.update(asked.hours)
            time.sleep(generator.expovariate(1 / thinking_s) if thinking_s else 0)


def _fault(client: httpx.Client, asked: Asked, key: str) -> str | None:
    """Ask; what went wrong, None where nothing did."""
    try:
        answer = client.request(asked.method, asked.path, json=asked.body, headers={"Idempotency-Key": key})
    except httpx.TransportError as error:
        return type(error).__name__
    return None if answer.is_success else f"{answer.status_code} {answer.text[:200]}"


def _request(what: str, name: str, stem: str, generator: random.Random, written: Mapping[CellKey, float]) -> Asked:
    """A request of this kind; where the client has no cell of its own to patch yet, it builds one."""
    running = {"pressure_kpa": round(generator.uniform(30, 1000)), "status": "running", "cycle_life_h": 1.0}
    if what in READS:
        return Asked("GET", generator.choice(READS[what]).format(name=name))
    if what == "suggest":
        return Asked("POST", f"/campaigns/{name}/suggestions", {})
    if what == "add two cells":
        ids = [f"{stem}-a", f"{stem}-b"]
        rows = [{"cell_id": cell_id, **running} for cell_id in ids]
        return Asked("POST", f"/campaigns/{name}/cells", {"cells": rows}, {(name, cell_id): 1.0 for cell_id in ids})
    if what == "patch a cell" and written:
        (name, cell_id), hours = generator.choice(list(written.items()))
        said: dict[str, Any] = {"cycle_life_h": hours + 1}
    else:
        cell_id, said = stem, running
    return Asked("PATCH", f"/campaigns/{name}/cells/{cell_id}", said, {(name, cell_id): said["cycle_life_h"]})


def _times(accounts: list[Account], seconds: float) -> Iterator[dict[str, Any]]:
    """A row for each kind of request, and for all reads, which have a bound; of them drawing a figure takes longest."""
    taken = {what: [each for account in accounts for each in account.seconds[what]] for what in SHARES}
    for what, times in taken.items():
        yield _row(what, times, seconds)
    for reads, left_out in (("reads but of figures", "read figures"), ("all reads", "")):
        row = _row(reads, [each for what in READS if what != left_out for each in taken[what]], seconds)
        yield {**row, "holds": row["p99 ms"] < 1000 * READS_P99_S}
    yield _row("all requests", [each for times in taken.values() for each in times], seconds)


def _row(what: str, times: list[float], seconds: float, found: str = "", holds: bool | None = None) -> dict[str, Any]:
    cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else [float("nan")] * 99
    percentiles = {f"p{share} ms": 1000 * cuts[share - 1] for share in (50, 95, 99)}
    return {
        "what": what,
        "requests": len(times),
        "a second": len(times) / seconds,
        **percentiles,
        "found": found,
        "holds": holds,
    }


def _kept(store: str, names: list[str], accounts: list[Account]) -> dict[str, Any]:
    """Each cell acknowledged is in the ledger once, and as it was last told to be; no other is there."""
    told = {key: hours for account in accounts for key, hours in account.hours.items()}
    ledger = Ledger.open(store)
    histories = {name: ledger.events(name) for name in names}
    ledger.close()
    ids = [(name, each) for name, events in histories.items() for event in events for each in built(event)]
    there = Counter(key for key in ids if key[1] not in {cell["cell_id"] for cell in CELLS})
    rows = {
        (name, key): row for name, events in histories.items() for key, row in table_of(in_force(events))[0].items()
    }
    counts = {
        "lost": len(told.keys() - there.keys()),
        "doubled": sum(number > 1 for number in there.values()),
        "unasked": len(there.keys() - told.keys()),
        "behind": sum(key in rows and rows[key]["cycle_life_h"] != hours for key, hours in told.items()),
        "errors": sum(account.faults.total() for account in accounts),
    }
    for fault, number in sum((account.faults for account in accounts), Counter[str]()).most_common(10):
        print(f"{number} x {fault}", flush=True)
    found = ", ".join([f"{len(told)} cells acknowledged", *(f"{number} {what}" for what, number in counts.items())])
    return _row("what the ledger holds", [], 1.0, found, bool(told) and not any(counts.values()))


def built(event: Event) -> list[str]:
    """The ids of the cells that an event built."""
    if event.kind == "cells_added":
        return [row["cell_id"] for row in event.payload["rows"]]
    return [change["cell_id"] for change in event.payload.get("changes", ()) if change["before"] is None]
