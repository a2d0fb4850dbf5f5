"""Fixtures: the published cells, their conditions, and stores that no test shares."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["STACKPRESS_SYNC"] = "off"  # a test that wants the MLflow projection asks for it
os.environ.pop("STACKPRESS_STORE", None)

import pytest
from hypothesis import settings

from campaigns.demo import published_cells
from campaigns.ledger import Ledger
from campaigns.projection import sync
from surrogates import Cell, Condition

from . import postgresql
from .browsing import Lab, chromium, running_lab
from .serving import Client, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

settings.register_profile("stackpress", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("stackpress")

ZN_TI = Condition(electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2")
ZN_VO2 = Condition(electrode_pair="Zn||VO2", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="A/g")


@pytest.fixture(scope="session")
def paper() -> tuple[Cell, ...]:
    """The seven published cells."""
    return published_cells()


@pytest.fixture
def zn_ti() -> Condition:
    return ZN_TI


@pytest.fixture
def zn_vo2() -> Condition:
    return ZN_VO2


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "mlruns"


@pytest.fixture
def client(store: Path) -> Iterator[Client]:
    """Asks a service in this process, which has campaign a."""
    client = Client(store)
    with closing(client.desk):
        opened(client)
        yield client


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without campaigns: making one takes 2 s, copying it 0.04 s."""
    folder = tmp_path_factory.mktemp("template")
    sync(Ledger.open(folder), folder)
    return folder / "mlflow.db"


@pytest.fixture
def folder(template: Path, store: Path) -> Path:
    store.mkdir()
    shutil.copy(template, store)
    return store


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(folder)) as ledger:
        yield ledger


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server, {database} in it."""
    if postgresql.programs() is None:
        assert "CI" not in os.environ, "PostgreSQL is always there in CI: see .ci/run"
        pytest.skip("PostgreSQL's initdb is not installed")
    with postgresql.server() as url:
        yield url


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind: a folder, and a database of a real server."""
    if request.param == "SQLite":
        return str(tmp_path / "mlruns")
    return postgresql.new_database(request.getfixturevalue("postgresql_server"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; while it is open, a loop of Playwright's runs in this thread."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running service of its own for each module."""
    with running_lab(tmp_path_factory.mktemp("lab") / "mlruns") as found:
        yield found
