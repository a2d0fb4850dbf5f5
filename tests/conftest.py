"""Fixtures: the published cells, their conditions, and stores that no test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ["STACKPRESS_SYNC"] = "off"  # a test that wants the MLflow projection asks for it
os.environ.pop("STACKPRESS_STORE", None)

import pytest
from hypothesis import settings

from campaigns.demo import published_cells
from surrogates import Cell, Condition

from . import postgresql

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
