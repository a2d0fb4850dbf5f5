"""The ledger: nothing lost, nothing doubled, nothing in part; the fold that reads it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sql

from campaigns.ledger import Ledger, events_table
from campaigns.state import fold
from surrogates import UserError


def test_events_come_back_as_they_went_in(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger.writing("a") as transaction:
        first = transaction.append("campaign_opened", {"x": [1, 2.5, None, "ü"]})
        second = transaction.append("cells_added", {"rows": []})
    assert Ledger.open(store).events("a") == (first, second)
    assert [event.revision for event in ledger.events("a")] == [1, 2]
    assert ledger.campaigns() == ("a",)
    assert ledger.head() == 2
    assert ledger.events("b") == ()


def test_an_error_inside_leaves_nothing(store: Path) -> None:
    ledger = Ledger.open(store)
    with pytest.raises(RuntimeError, match="half-way"), ledger.writing("a") as transaction:
        transaction.append("campaign_opened", {})
        raise RuntimeError("half-way")
    assert ledger.events("a") == ()


def test_the_same_key_is_one_event(store: Path) -> None:
    ledger = Ledger.open(store)
    stored = []
    for _ in range(2):
        with ledger.writing("a") as transaction:
            stored.append(transaction.append("campaign_opened", {"n": 1}, key="request-1"))
    assert stored[0] == stored[1]
    assert ledger.head() == 1


def test_sqlite_is_set_for_safety(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def _append_many(store: Path, count: int) -> None:
    ledger = Ledger.open(store)
    for _ in range(count):
        with ledger.writing("a") as transaction:
            transaction.append("note", {"pid": os.getpid()})


def test_processes_write_side_by_side(store: Path) -> None:
    """A fresh store, four processes at once: every event is there, numbered without gap."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(store, 15)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [event.revision for event in Ledger.open(store).events("a")] == list(range(1, 61))


def test_a_killed_writer_loses_nothing_it_acknowledged(store: Path) -> None:
    code = (
        "import sys\nfrom campaigns.ledger import Ledger\nledger = Ledger.open(sys.argv[1])\n"
        "while True:\n"
        "    with ledger.writing('a') as t:\n        e = t.append('note', {'text': 'x' * 2000})\n"
        "    print(e.revision, flush=True)\n"
    )
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(store)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
        process.stdout.close()
        process.wait()
        events = Ledger.open(store).events("a")
        assert [event.revision for event in events] == list(range(1, len(events) + 1))
        assert len(events) >= acknowledged


@pytest.mark.parametrize("broken", [b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 3000])
def test_a_broken_ledger_is_said_and_kept(store: Path, broken: bytes) -> None:
    store.mkdir()
    (store / "ledger.db").write_bytes(broken)
    with pytest.raises(UserError, match="expected a folder that a ledger can be kept in"):
        Ledger.open(store)
    assert (store / "ledger.db").read_bytes() == broken


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="Choose another folder with --store"):
        Ledger.open(tmp_path / "file")


def test_events_of_a_newer_version_are_refused(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger.writing("a") as transaction:
        transaction.append("a_kind_of_tomorrow", {})
    with pytest.raises(UserError, match="a_kind_of_tomorrow.*update stackpress"):
        fold(ledger.events("a"))


def test_revisions_are_unique_in_the_database(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger.writing("a") as transaction:
        event = transaction.append("note", {})
    with pytest.raises(sql.exc.IntegrityError), ledger._engine.begin() as connection:
        connection.execute(sql.insert(events_table).values(**{**vars(event), "key": "other"}))


@pytest.mark.parametrize("name", ["what?x=1", "50%41", "a b#c", "Zn – Prüfstand"])
def test_odd_folder_names(tmp_path: Path, name: str) -> None:
    with Ledger.open(tmp_path / name).writing("a") as transaction:
        transaction.append("note", {})
    assert (tmp_path / name / "ledger.db").exists()
    assert Ledger.open(tmp_path / name).head() == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]
