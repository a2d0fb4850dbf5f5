"""The model scale: documented closed forms, round trips, and what a cell says about an outcome."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates import Cell, UserError
from surrogates.cells import check_cells
from surrogates.outcomes import OUTCOMES, Outcome, check_outcome, outcome_of, reading, readings

from .worlds import cells_from


def test_documented_closed_forms() -> None:
    assert Outcome("cycle_life_h").to_y(104) == pytest.approx(math.log(104))
    assert Outcome("cycle_life_cycles").to_y(166) == pytest.approx(math.log(166))
    assert Outcome("coulombic_efficiency").to_y(0.984) == pytest.approx(-math.log(-math.log(0.984)))
    expected = math.log(100) - math.log(-math.log(0.773))
    assert Outcome("capacity_retention").to_y(0.773, 100) == pytest.approx(expected)


@given(st.floats(0.02, 0.999))
def test_fractions_round_trip(value: float) -> None:
    for name in ("coulombic_efficiency", "capacity_retention"):
        outcome = Outcome(name)  # type: ignore[arg-type]
        assert outcome.from_y(outcome.to_y(value)) == pytest.approx(value)


@given(st.floats(0.01, 1e5))
def test_lives_round_trip(value: float) -> None:
    assert Outcome("cycle_life_h").from_y(Outcome("cycle_life_h").to_y(value)) == pytest.approx(value)


@given(st.floats(0.1, 0.95), st.integers(10, 500))
def test_exponential_fade_reads_the_same_at_any_cycle(retention: float, cycles: int) -> None:
    outcome = Outcome("capacity_retention", 100)
    at_100 = retention ** (100 / cycles)
    assert outcome.to_y(retention, cycles) == pytest.approx(outcome.to_y(at_100, 100))


@given(st.floats(-3, 12), st.floats(-3, 12))
def test_better_is_larger_on_both_scales(one: float, other: float) -> None:
    for name in OUTCOMES:
        low, high = Outcome(name).from_y(sorted((one, other)))
        assert low <= high


def test_alive_cells_are_lower_bounds_of_life_only() -> None:
    life, retention = Outcome("cycle_life_h"), Outcome("capacity_retention")
    for status, censored in (("ended", False), ("running", True), ("stopped", True)):
        [cell] = cells_from([300], [4.0], status, capacity_retention=0.8, retention_cycles=50)
        found = reading(cell, life)
        assert found is not None
        assert found.censored is censored
        other = reading(cell, retention)
        assert other is not None
        assert not other.censored


def test_silent_cells(paper: tuple[Cell, ...]) -> None:
    outcome = Outcome("cycle_life_h")
    assert [item.cell.cell_id for item in readings(paper, outcome)] == [
        "wen2025-ti-20",
        "wen2025-ti-300",
        "wen2025-ti-1000",
    ]
    [activated] = cells_from([300], [4.0], "stopped", capacity_retention=1.05, retention_cycles=10)
    assert reading(activated, Outcome("capacity_retention")) is None
    [faulty] = cells_from([300], [0.1], "invalid", end_reason="assembly_fault")
    assert reading(faulty, outcome) is None


def test_the_two_ce_protocols_are_never_pooled() -> None:
    rows = [
        cell.row() | {"cell_id": protocol, "coulombic_efficiency": 0.98, "ce_protocol": protocol}
        for protocol in ("per_cycle_mean", "reservoir")
        for cell in cells_from([300], [4.0])
    ]
    with pytest.raises(UserError, match="per_cycle_mean and reservoir"):
        readings(check_cells(rows), Outcome("coulombic_efficiency"))


def test_retention_is_stated_at_the_cells_own_cycle() -> None:
    cells = cells_from([300, 400], [4.0, 4.0], capacity_retention=0.8, retention_cycles=50)
    assert outcome_of("capacity_retention", cells).retention_cycles == 50
    assert outcome_of("capacity_retention", cells, 200).retention_cycles == 200
    assert outcome_of("capacity_retention", ()).retention_cycles == 100


def test_unknown_outcome_is_named() -> None:
    with pytest.raises(UserError, match="expected one of cycle_life_h.*found 'life'"):
        check_outcome("life")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cycle_life_h", 103.6, "104 h"),
        ("cycle_life_h", 1234.0, "1230 h"),
        ("cycle_life_h", 9.876, "9.88 h"),
        ("cycle_life_cycles", 166.0, "166 cycles"),
        ("coulombic_efficiency", 0.984, "98.4 %"),
        ("coulombic_efficiency", 0.9984, "99.84 %"),
    ],
)
def test_values_for_people(name: str, value: float, text: str) -> None:
    assert Outcome(check_outcome(name)).text(value) == text
