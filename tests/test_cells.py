"""The schema of the table: what is refused, in which words, and what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from surrogates import Condition, TableError, UserError
from surrogates.cells import COLUMNS, check_cells, check_condition, to_frame

ROW: dict[str, Any] = {
    "cell_id": "a-1",
    "electrode_pair": "Zn||Ti",
    "electrolyte": "1 M ZnSO4",
    "pressure_kpa": 300,
    "current_density": 1,
    "current_density_unit": "mA/cm2",
    "status": "ended",
    "cycle_life_h": 104,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pressure_kpa": -5}, "column pressure_kpa: expected a number above 0.*found -5"),
        ({"pressure_kpa": "three hundred"}, "pressure_kpa: expected a number; found 'three hundred'"),
        ({"pressure_kpa": float("inf")}, "pressure_kpa: expected a finite number"),
        ({"pressure_kpa": None}, "pressure_kpa: expected a column with values"),
        (
            {"coulombic_efficiency": 98.4, "ce_protocol": "reservoir"},
            "found 98.4.*percentage.*coulombic_efficiency_percent",
        ),
        ({"coulombic_efficiency": 1.02, "ce_protocol": "reservoir"}, "found 1.02.*soft short"),
        ({"coulombic_efficiency": 0.98}, "expected coulombic_efficiency and ce_protocol together"),
        ({"capacity_retention": 0.8}, "expected capacity_retention and retention_cycles together"),
        ({"capacity_retention": 77.3, "retention_cycles": 100}, "percentage.*capacity_retention_percent"),
        ({"retention_cycles": 10.5, "capacity_retention": 0.8}, "retention_cycles: expected a whole number"),
        ({"status": "dead"}, "status: expected .*ended.*found 'dead'"),
        ({"status": "planned"}, "expected no results on a planned cell"),
        ({"end_reason": "assembly_fault"}, 'expected "invalid" where end_reason is assembly_fault'),
        ({"end_reason": "operator"}, 'expected "stopped" where end_reason is operator'),
        ({"status": "invalid"}, "expected a reason for an invalid cell"),
        ({"electrode_pair": "Zn/Ti"}, r"expected two electrodes with \|\| between them"),
        ({"current_density_unit": "mA cm-2"}, "current_density_unit: expected 'mA/cm2' or 'A/g'"),
        ({"relative_density": 98}, "relative_density: expected a number of 1 or less"),
    ],
)
def test_refused_with_the_reason(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TableError, match=f"(?s){words}"):
        check_cells([ROW | change], "cells.csv")


def test_every_problem_is_told_and_nothing_returned() -> None:
    rows = [
        ROW | {"cell_id": "x", "pressure_kpa": -1},
        ROW | {"cell_id": "y", "cycle_life_h": "long"},
        ROW | {"cell_id": "z"},
    ]
    with pytest.raises(TableError, match="cells.csv: 2 problems; nothing was stored") as caught:
        check_cells(rows, "cells.csv", ["row 2", "row 3", "row 5"])
    assert [problem.row for problem in caught.value.problems] == ["row 2", "row 3"]


def test_across_rows() -> None:
    with pytest.raises(TableError, match="cell a-1, column cell_id: expected every cell_id once; found 2 rows"):
        check_cells([ROW, ROW])
    with pytest.raises(TableError, match=r"pair Zn\|\|Ti.*one unit for an electrode pair; found A/g and mA/cm2"):
        check_cells([ROW, ROW | {"cell_id": "a-2", "current_density_unit": "A/g"}])


def test_a_frame_with_blanks_and_extra_columns() -> None:
    frame = pd.DataFrame([ROW | {"lot": "B7"}, ROW | {"cell_id": 7, "cycle_life_h": np.nan, "status": "running"}])
    one, two = check_cells(frame)
    assert one.row()["lot"] == "B7"
    assert two.cell_id == "7"
    assert two.cycle_life_h is None
    assert "lot" not in two.row()


def test_missing_columns_of_a_frame_are_told_once() -> None:
    with pytest.raises(TableError) as caught:
        check_cells(pd.DataFrame([ROW, ROW | {"cell_id": "b"}]).drop(columns=["status", "electrolyte"]))
    assert [problem.column for problem in caught.value.problems] == ["electrolyte", "status"]
    assert "Columns found: cell_id, current_density" in str(caught.value)


def test_a_table_survives_the_frame() -> None:
    cells = check_cells([ROW, ROW | {"cell_id": "b", "lot": "B7"}])
    frame = to_frame(cells)
    assert list(frame.columns) == [*COLUMNS, "lot"]
    assert check_cells(frame) == cells


def test_an_empty_table_is_a_table() -> None:
    assert check_cells(pd.DataFrame()) == ()
    assert check_cells([]) == ()
    assert list(to_frame([]).columns) == list(COLUMNS)


def test_condition() -> None:
    condition = check_condition(
        {
            "electrode_pair": " Zn || Ti ",
            "electrolyte": "1 M ZnSO4",
            "current_density": 1,
            "current_density_unit": "mA/cm2",
        }
    )
    assert str(condition) == "Zn||Ti in 1 M ZnSO4 at 1 mA/cm2"
    assert check_condition(condition) is condition
    with pytest.raises(UserError, match="current_density: expected a number above 0"):
        check_condition(condition.model_dump() | {"current_density": 0})
    with pytest.raises(UserError, match="pressure: expected no such field"):
        check_condition(condition.model_dump() | {"pressure": 3})
    assert isinstance(condition, Condition)
