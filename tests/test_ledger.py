"""The ledger on SQLite and on PostgreSQL: nothing lost, nothing doubled, nothing in part, nothing changed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.config import Config
from alembic.script import ScriptDirectory

from campaigns.events import Draft, Event
from campaigns.ledger import Ledger, _sqlite, events_table
from campaigns.migrations import SCRIPTS, STEPS, VERSION_TABLE, bring_up, schema_of
from campaigns.state import fold
from surrogates import UserError

from . import postgresql


def test_events_come_back_as_they_went_in(any_store: str) -> None:
    ledger = Ledger.open(any_store)
    with ledger.writing("a") as transaction:
        first = transaction.append("campaign_opened", {"x": [1, 2.5, None, "ü"]})
        second = transaction.append("cells_added", {"rows": []})
    assert Ledger.open(any_store).events("a") == (first, second)
    assert [event.revision for event in ledger.events("a")] == [1, 2]
    assert ledger.campaigns() == ("a",)
    assert ledger.head() == 2
    assert ledger.events("b") == ()


def test_an_error_inside_leaves_nothing(any_store: str) -> None:
    ledger = Ledger.open(any_store)
    with pytest.raises(RuntimeError, match="half-way"), ledger.writing("a") as transaction:
        transaction.append("campaign_opened", {})
        raise RuntimeError("half-way")
    assert ledger.events("a") == ()


def test_the_same_request_under_a_key_is_one_event(any_store: str) -> None:
    ledger, drafts = Ledger.open(any_store), [Draft("cells_added", {"n": 1}), Draft("corrected", {"n": 2})]
    answers = []
    for _ in range(2):
        with ledger.writing("a") as transaction:
            stored = transaction.stored_as("request-1", ["add", 7])
            answers.append(stored or transaction.append_all(drafts, "request-1", ["add", 7]))
    assert answers[0] == answers[1] == ledger.events("a")
    assert len(answers[0]) == 2
    with pytest.raises(UserError, match="key request-1: expected a key of its own"), ledger.writing("a") as transaction:
        transaction.stored_as("request-1", ["add", 8])
    with pytest.raises(UserError, match="used for another request, of a"), ledger.writing("b") as transaction:
        transaction.stored_as("request-1", ["add", 7])


def test_no_statement_changes_or_deletes_an_event(any_store: str) -> None:
    ledger = Ledger.open(any_store)
    with ledger.writing("a") as transaction:
        event = transaction.append("note", {})
    for statement in (sql.update(events_table).values(actor="x"), sql.delete(events_table)):
        with pytest.raises(sql.exc.DBAPIError, match="never changed or deleted"), ledger._engine.begin() as connection:
            connection.execute(statement)
    assert ledger.events("a") == (event,)


def test_sqlite_is_set_for_safety(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def _append_many(store: str, count: int) -> None:
    ledger = Ledger.open(store)
    for _ in range(count):
        with ledger.writing("a") as transaction:
            transaction.append("note", {"pid": os.getpid()})


def test_processes_write_side_by_side(any_store: str) -> None:
    """A fresh store, four processes at once: every event is there, numbered without gap."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(any_store, 15)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [event.revision for event in Ledger.open(any_store).events("a")] == list(range(1, 61))


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
    with pytest.raises(UserError, match="choose another store with --store"):
        Ledger.open(tmp_path / "file")


def test_events_of_a_newer_version_are_refused(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger.writing("a") as transaction:
        transaction.append("a_kind_of_tomorrow", {})
    with pytest.raises(UserError, match="a_kind_of_tomorrow.*update stackpress"):
        fold(ledger.events("a"))


def test_revisions_are_unique_in_the_database(any_store: str) -> None:
    ledger = Ledger.open(any_store)
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


def unversioned(store: Path) -> None:
    """A ledger as it was before its schema was counted, with one event in it."""
    store.mkdir()
    engine = _sqlite(store / "ledger.db")
    bring_up(engine, last="0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
        connection.execute(sql.insert(events_table).values(**OLD))
    engine.dispose()


OLD = {
    "campaign": "a", "revision": 1, "kind": "note", "schema_version": 1, "payload": {"x": 1},
    "actor": "anna", "time": "2026-01-01T00:00:00.000+00:00", "key": "k",
}  # fmt: skip


def test_an_older_ledger_is_backed_up_and_brought_up(store: Path) -> None:
    unversioned(store)
    assert Ledger.open(store).events("a") == (Event(**OLD),)
    backup = sql.create_engine(f"sqlite:///{store}/ledger.before-{STEPS[-1]}.db")
    with backup.connect() as connection:
        assert not sql.inspect(connection).has_table(VERSION_TABLE)
        assert connection.execute(sql.select(events_table.c.key)).scalars().all() == ["k"]
    backup.dispose()
    with Ledger.open(store)._engine.connect() as connection:
        assert schema_of(connection) == STEPS[-1]


def test_an_older_ledger_on_postgresql(postgresql_server: str) -> None:
    url = postgresql.new_database(postgresql_server)
    engine = sql.create_engine(url)
    bring_up(engine, last="0001")
    with engine.begin() as connection:
        connection.execute(sql.insert(events_table).values(**OLD))
    assert Ledger.open(url).events("a") == (Event(**OLD),)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT key FROM events_before_{STEPS[-1]}").scalars().all() == ["k"]
    engine.dispose()


def test_a_step_that_fails_leaves_the_ledger_as_it_was(store: Path, tmp_path: Path) -> None:
    unversioned(store)
    scripts = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    step = (SCRIPTS / "versions" / "0001_events.py").read_text().replace("0001", "9999")
    step = step.replace("down_revision = None", f'down_revision = "{STEPS[-1]}"')
    (scripts / "versions" / "9999_broken.py").write_text(step)
    engine = _sqlite(store / "ledger.db")
    with pytest.raises(sql.exc.OperationalError, match="already exists"):
        bring_up(engine, scripts, last="9999")
    with engine.connect() as connection:
        assert schema_of(connection) == "0001"
    engine.dispose()
    assert Ledger.open(store).events("a") == (Event(**OLD),)


def test_the_last_step_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == STEPS[-1]


def test_a_ledger_of_a_newer_version_is_left_alone(any_store: str) -> None:
    ledger = Ledger.open(any_store)
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0099'")
    with pytest.raises(UserError, match="expected a schema up to .*; found 0099.*update stackpress"):
        Ledger.open(any_store)
    with ledger._engine.connect() as connection:
        assert schema_of(connection) == "0099"


def test_a_full_disk_is_said_and_nothing_is_damaged(store: Path) -> None:
    ledger = Ledger.open(store)
    with ledger.writing("a") as transaction:
        event = transaction.append("note", {})
    sql.event.listen(ledger._engine, "begin", lambda c: c.exec_driver_sql("PRAGMA max_page_count = 12"))
    with pytest.raises(UserError, match="database or disk is full. Nothing was stored"), ledger.writing("a") as full:
        full.append("note", {"text": "x" * 100_000})
    assert Ledger.open(store).events("a") == (event,)
    with Ledger.open(store).writing("a") as transaction:
        assert transaction.append("note", {"text": "x" * 100_000}).revision == 2


GUEST = (  # root may write everywhere; what is imported late, a guest may not find
    "import os, sys\nfrom campaigns.ledger import Ledger\nLedger.open(sys.argv[2]).events('a')\n"
    "if os.geteuid() == 0:\n    os.setuid(65534)\n"
)
READ = GUEST + "print(len(Ledger.open(sys.argv[1]).events('a')))\n"
WRITE = GUEST + "with Ledger.open(sys.argv[1]).writing('a') as t:\n    t.append('note', {})\n"


@pytest.mark.parametrize("writer_at_work", [False, True])
def test_a_store_that_may_only_be_read(writer_at_work: bool) -> None:
    """As another user, who may look into the folder and not write in it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "mlruns"
        ledger = Ledger.open(store)
        with ledger.writing("a") as transaction:
            transaction.append("note", {})
        if not writer_at_work:
            ledger.close()
        before = sorted(path.name for path in store.iterdir())
        Path(folder).chmod(0o755)
        store.chmod(0o555)
        for path in store.iterdir():
            path.chmod(0o444)
        assert as_a_guest(READ, store) == (0, "1", "")
        code, _, error = as_a_guest(WRITE, store)
        assert code != 0
        assert "expected a ledger that can be written; found: attempt to write a readonly database" in error
        assert sorted(path.name for path in store.iterdir()) == before
        store.chmod(0o755)


def as_a_guest(code: str, store: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-c", code, str(store), str(store.parent / "other")]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout.strip(), done.stderr


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        Ledger.open("postgresql://anna:secret@127.0.0.1:1/lab")
    assert "anna:***@127.0.0.1:1/lab: expected a folder" in str(caught.value)
    assert "secret" not in str(caught.value)
