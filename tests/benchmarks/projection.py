"""How long MLflow takes to follow the ledger: one new cell in a store of 1,000, all of it anew, a server that is away.

Every row says what was timed and what must hold: opening MLflow's database and the sync, in a fresh process. The import of
MLflow, with the modules that read its database, is timed beside, because no projection can do without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from campaigns.campaign import Campaign

from .ledger import cells, opened

CELLS, CAMPAIGNS, REPEATS = 1000, 10, 5
ONE_CELL_S, REBUILD_S, AWAY_S = 1.0, 60.0, 6.0
TIMED = """
import gc, json, os, sys, time
from campaigns.mlflow_place import ENVIRONMENT, Place
os.environ.update(ENVIRONMENT)
gc.disable()  # as for the import of a command
start = time.perf_counter()
import mlflow, mlflow.store.model_registry.sqlalchemy_store, mlflow.store.tracking.sqlalchemy_store
imported = time.perf_counter() - start
gc.enable()
from pathlib import Path
from campaigns.ledger import Ledger
from campaigns.projection import sync
place = Place(Path(sys.argv[1]).resolve())
start = time.perf_counter(); place.client(); made = time.perf_counter() - start
start = time.perf_counter(); report = sync(Ledger.open(place.folder), place.folder, rebuild=sys.argv[2] == "rebuild")
synced = time.perf_counter() - start
print(json.dumps({"import": imported, "open": made, "sync": synced, "runs": report.runs_written, "problems": report.problems}))
"""


def run() -> list[dict[str, Any]]:
    """All of it, each sync in a process of its own."""
    os.environ["STACKPRESS_SYNC"] = "off"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        return [*_of_store(home / "one", 1), *_of_store(home / "ten", CAMPAIGNS), _away(home / "away")]


def _of_store(store: Path, campaigns: int) -> Iterator[dict[str, Any]]:
    what = f"{CELLS} cells in {campaigns} campaign{'s' * (campaigns > 1)}"
    for number in range(campaigns):
        opened(str(store), f"c{number}").add(cells(CELLS // campaigns, f"x{number}"))
    first = _timed(store, "")
    yield _row(f"{what}: first sync", first, None)
    told = []
    for number in range(REPEATS):
        Campaign.open("c0", str(store)).record(f"new-{number}", pressure_kpa=50.0)
        told.append(_timed(store, ""))
    middle = {key: median(item[key] for item in told) for key in ("import", "open", "sync")}
    yield _row(f"{what}: one new cell", {**told[-1], **middle}, ONE_CELL_S)
    yield _row(f"{what}: made anew", _timed(store, "rebuild"), REBUILD_S)


def _away(store: Path) -> dict[str, Any]:
    """A server that nobody runs: how soon a sync gives up."""
    opened(str(store))
    code = TIMED.replace("rebuild=", "server='http://127.0.0.1:9', rebuild=")
    done = subprocess.run([sys.executable, "-c", code, str(store), ""], capture_output=True, text=True, check=False)
    assert "expected an answer within" in done.stderr, done.stderr
    code = "import time; t = time.perf_counter(); from campaigns.mlflow_place import Place, AwayError\ntry:\n    "
    code += "Place('x', 'http://127.0.0.1:9').check()\nexcept AwayError:\n    print(time.perf_counter() - t)"
    seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    return {
        "what": "server away",
        "found": "said so",
        "import s": 0.0,
        "open s": 0.0,
        "sync s": seconds,
        "holds": seconds < AWAY_S,
    }


def _timed(store: Path, how: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TIMED, str(store), how], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert not found["problems"], found
    return found


def _row(what: str, told: dict[str, Any], most: float | None) -> dict[str, Any]:
    return {
        "what": what,
        "found": f"{told['runs']} runs written",
        "import s": told["import"],
        "open s": told["open"],
        "sync s": told["sync"],
        "holds": most is None or told["open"] + told["sync"] < most,
    }
