"""The projection into MLflow in a process of its own, after the answer: `python -m campaigns.background STORE`.

A failure is written to sync.log in the store's folder and nowhere else: the ledger has it all.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from campaigns.ledger import Ledger
from campaigns.projection import LOCK, WAIT_S, BusyError, SyncReport, sync
from campaigns.store import mlflow_folder, mlflow_server
from surrogates.errors import UserError

LOG, LOG_BYTES = "sync.log", 100_000
NICENESS = 10  # answers to those who wait come first


def sync_in_background(store: str | Path, folder: str | Path | None = None) -> None:
    """Start a sync of its own process and return at once; a failure is written to `folder`/sync.log and nowhere else.

    The environment variable STACKPRESS_SYNC: "off" does nothing, "wait" syncs in this process before returning.
    """
    mode, folder = os.environ.get("STACKPRESS_SYNC"), mlflow_folder(folder or store)
    if mode == "off":
        return
    with contextlib.suppress(OSError), _log(folder) as log:  # no folder to write in: the ledger has it all
        if mode == "wait":
            _write(_sync_safely(store, folder, WAIT_S).problems, log)
        elif not _is_held(folder):
            try:
                _start(store, folder, log)
            except OSError as error:
                _write([f"the sync could not be started: {error}"], log)


def _is_held(folder: Path) -> bool:
    import filelock

    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            return False
    except filelock.Timeout:
        return True


def _start(store: str | Path, folder: Path, log: TextIO) -> None:
    """Start `python -m campaigns.background`. The store goes by the environment: a URL may hold a password."""
    home = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-m", "campaigns.background", str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "STACKPRESS_LEDGER": str(store)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, daemon=True).start()  # else it stays a zombie of a long-lived service


def _sync_safely(store: str | Path, folder: Path, wait_s: float) -> SyncReport:
    """`sync`, with whatever goes wrong as a problem of the report: it must not fail the verb that it follows."""
    try:
        with contextlib.closing(Ledger.open(store)) as ledger:
            return sync(ledger, folder, wait_s=wait_s, server=mlflow_server())
    except BusyError:
        return SyncReport()
    except UserError as error:
        return SyncReport(problems=(str(error),))
    except Exception as error:
        return SyncReport(problems=(f"{type(error).__name__}: {error}",))


def _log(folder: Path) -> TextIO:
    """sync.log, open for more; when it is long its older half goes first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOG
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.write_bytes(path.read_bytes()[-LOG_BYTES // 2 :])
    return path.open("a", encoding="utf-8")


def _write(problems: Iterable[str], log: TextIO) -> None:
    for problem in problems:
        print(datetime.now(timezone.utc).isoformat(timespec="seconds"), " ".join(problem.split()), file=log)


def main(arguments: Sequence[str]) -> int:
    """`python -m campaigns.background STORE`: sync, unless another sync is at work; problems go to stderr."""
    os.nice(NICENESS)
    store = os.environ.get("STACKPRESS_LEDGER", arguments[0])
    report = _sync_safely(store, mlflow_folder(arguments[-1]), wait_s=0)
    _write(report.problems, sys.stderr)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
