"""Fixtures: the published cells, their conditions, and stores that no test shares."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["STACKPRESS_SYNC"] = "off"  # a test that wants the MLflow projection asks for it
os.environ.pop("STACKPRESS_STORE", None)

import pytest
from hypothesis import settings

from campaigns.demo import published_cells
from surrogates import Cell, Condition

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
