"""What the ledger must hold while it is worked with, by the benchmark's own parts, in numbers for every day."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import postgresql
from .benchmarks import ledger

pytestmark = pytest.mark.slow


def test_processes_record_side_by_side(any_store: str) -> None:
    found = ledger.side_by_side(any_store, writers=3, each=20)
    assert found["holds"], found


def test_processes_add_the_same_table(any_store: str) -> None:
    found = ledger.same_table(any_store, writers=3)
    assert found["holds"], found


def test_requests_sent_twice(any_store: str) -> None:
    found = ledger.sent_twice(any_store)
    assert found["holds"], found


def test_a_writer_fills_its_disk(store: Path) -> None:
    found = ledger.full_disk(str(store))
    assert found["holds"], found


def test_a_real_disk_is_full(tmp_path: Path) -> None:
    with ledger.small_disk(tmp_path / "small") as grow:
        if grow is None:
            pytest.skip("no file system may be mounted here")
        found = ledger.full_disk(str(tmp_path / "small" / "store"), grow)
    assert found["holds"], found
    assert found["found"].endswith("database or disk is full")


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_two_processes_make_a_store(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgresql_server") if kind == "PostgreSQL" else ""
    found = ledger.made_at_once(lambda name: postgresql.new_database(url) if url else str(tmp_path / name), pairs=4)
    assert found["holds"], found


def test_a_writer_is_killed_again_and_again(any_store: str) -> None:
    """In a process of its own: it forks."""
    code = "import json, sys; from tests.benchmarks.ledger import killed; print(json.dumps(killed(sys.argv[1], 8)))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code, any_store], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["holds"], found
