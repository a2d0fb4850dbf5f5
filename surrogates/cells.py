"""The table of cells: one row per cell built, every column and rule in one place.

`Cell` is a row, `Condition` what a suggestion is asked for. `check_cells` turns a pandas DataFrame or a
sequence of mappings into cells, or raises one `TableError` that names every problem.
Units: kPa, h, mA cm-2 or A g-1, fractions (not percent), mV, um, degrees Celsius.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from surrogates.errors import Problem, TableError, UserError

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["planned", "running", "ended", "stopped", "invalid"]
EndReason = Literal[
    "short", "soft_short", "fade", "contact_loss", "operator", "assembly_fault", "cycler_fault", "other"
]
CurrentUnit = Literal["mA/cm2", "A/g"]
CeProtocol = Literal["per_cycle_mean", "reservoir"]
Fixture = Literal["constant_force", "constant_gap", "coin_cell"]

FAULTS = ("assembly_fault", "cycler_fault")
RESULTS = ("cycle_life_h", "cycle_life_cycles", "coulombic_efficiency", "capacity_retention")

LEAST, MOST = 1e-9, 1e9


def measurable(value: float) -> float:
    """A positive number that an instrument can have given: others are slips, and break the arithmetic of logarithms."""
    if value < LEAST:
        raise PydanticCustomError("measurable", f"a number of {LEAST:g} or more", {"remedy": ""})
    return value


Positive = Annotated[float, Field(gt=0, le=MOST), AfterValidator(measurable)]
Pressure = Annotated[float, Field(gt=0, le=1e6), AfterValidator(measurable)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_PAIR = {"pattern": r"^\s*[^|\s][^|]*\|\|\s*[^|\s][^|]*$", "examples": ["Zn||VO2"]}
Pair = Annotated[Name, Field(json_schema_extra=_PAIR)]


def _electrode_pair(text: str) -> str:
    electrodes = [part.strip() for part in text.split("||")]
    if len(electrodes) != 2 or not all(electrodes):
        raise PydanticCustomError(
            "electrode_pair", 'two electrodes with || between them, as in "Zn||VO2"', {"remedy": ""}
        )
    return "||".join(electrodes)


class Condition(BaseModel):
    """What is held fixed while pressure is tuned: pair, electrolyte, current density.

    `retention_cycles`: the cycle number at which a capacity retention is stated; None means that of the cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    electrode_pair: Pair
    electrolyte: Name
    current_density: Positive
    current_density_unit: CurrentUnit
    retention_cycles: Annotated[int, Field(ge=1, le=10**9)] | None = None

    _pair = field_validator("electrode_pair")(_electrode_pair)

    def __str__(self) -> str:
        return f"{self.electrode_pair} in {self.electrolyte} at {self.current_density:g} {self.current_density_unit}"

    def holds(self, cell: Cell) -> bool:
        """Whether a cell is of this pair and electrolyte, at whatever current."""
        return (self.electrode_pair, self.electrolyte) == (cell.electrode_pair, cell.electrolyte)


class Cell(BaseModel):
    """One cell built: a row of the table. Columns not named here are kept as they came."""

    model_config = ConfigDict(
        frozen=True, extra="allow", str_strip_whitespace=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    cell_id: Annotated[str, Field(min_length=1, max_length=100)]
    electrode_pair: Pair
    electrolyte: Name
    pressure_kpa: Pressure
    pressure_sd_kpa: Annotated[float, Field(ge=0, le=1e6)] | None = None
    current_density: Positive
    current_density_unit: CurrentUnit
    status: Status
    end_reason: EndReason | None = None
    cycle_life_h: Positive | None = None
    cycle_life_cycles: Positive | None = None
    coulombic_efficiency: Positive | None = None
    ce_protocol: CeProtocol | None = None
    capacity_retention: Positive | None = None
    retention_cycles: Annotated[int, Field(ge=1, le=10**9)] | None = None
    initial_capacity_mah_g: Positive | None = None
    nucleation_overpotential_mv: Annotated[float, Field(ge=-MOST, le=MOST)] | None = None
    xrd_002_100_ratio: Positive | None = None
    relative_density: Annotated[float, Field(gt=0, le=1), AfterValidator(measurable)] | None = None
    deposit_thickness_um: Positive | None = None
    particle_size_um: Positive | None = None
    temperature_c: Annotated[float, Field(gt=-273.15, le=MOST)] | None = None
    areal_capacity_mah_cm2: Positive | None = None
    separator: str | None = None
    fixture: Fixture | None = None
    assembly_batch: str | None = None
    note: str | None = None

    _pair = field_validator("electrode_pair")(_electrode_pair)

    @field_validator("coulombic_efficiency")
    @classmethod
    def _efficiency_is_a_fraction(cls, value: float | None) -> float | None:
        if value is None or value < 1:
            return value
        remedy = (
            "That is a percentage: name the column coulombic_efficiency_percent, or divide by 100."
            if value > 2
            else "At or above 1 more charge came out than went in: a soft short, a file that continues another "
            "test, or charge and discharge swapped. Leave the value empty and say why in end_reason or note."
        )
        raise PydanticCustomError("fraction", "a fraction between 0 and 1", {"remedy": remedy})

    @field_validator("capacity_retention")
    @classmethod
    def _retention_is_a_fraction(cls, value: float | None) -> float | None:
        if value is None or value <= 2:
            return value
        remedy = "That is a percentage: name the column capacity_retention_percent, or divide by 100."
        raise PydanticCustomError("fraction", "a fraction", {"remedy": remedy})

    @model_validator(mode="after")
    def _columns_agree(self) -> Cell:
        for column, expected, remedy in self._disagreements():
            raise PydanticCustomError(
                "columns", "{expected}", {"column": column, "expected": expected, "remedy": remedy}
            )
        return self

    def _disagreements(self) -> Iterable[tuple[str, str, str]]:
        if (self.capacity_retention is None) != (self.retention_cycles is None):
            yield (
                "retention_cycles",
                "capacity_retention and retention_cycles together",
                "A retention means something only with the cycle number at which it was read.",
            )
        if (self.coulombic_efficiency is None) != (self.ce_protocol is None):
            yield (
                "ce_protocol",
                "coulombic_efficiency and ce_protocol together",
                'Say how it was measured: "per_cycle_mean" or "reservoir"; the two are never pooled.',
            )
        if self.status == "planned" and any(getattr(self, name) is not None for name in RESULTS):
            yield "status", "no results on a planned cell", 'Use "running", "ended" or "stopped".'
        if self.end_reason in FAULTS and self.status != "invalid":
            yield (
                "status",
                f'"invalid" where end_reason is {self.end_reason}',
                "A fault says nothing about pressure: an invalid cell is kept with its reason and not used.",
            )
        if self.end_reason == "operator" and self.status == "ended":
            yield (
                "status",
                '"stopped" where end_reason is operator',
                "A cell that was taken off alive has not reached its end of life.",
            )
        if self.status == "invalid" and not (self.end_reason or self.note):
            yield "end_reason", "a reason for an invalid cell", "Give end_reason or note."

    @property
    def condition(self) -> Condition:
        """The condition the cell was built for."""
        return Condition(
            electrode_pair=self.electrode_pair,
            electrolyte=self.electrolyte,
            current_density=self.current_density,
            current_density_unit=self.current_density_unit,
        )

    def row(self) -> dict[str, Any]:
        """The cell as a mapping of column to value, empty columns left out."""
        return self.model_dump(exclude_none=True)


COLUMNS: tuple[str, ...] = tuple(Cell.model_fields)
REQUIRED: tuple[str, ...] = tuple(name for name, field in Cell.model_fields.items() if field.is_required())


def check_cells(
    table: pd.DataFrame | Iterable[Mapping[str, Any] | Cell],
    source: str = "table of cells",
    row_names: Sequence[str] | None = None,
) -> tuple[Cell, ...]:
    """The rows of `table` as cells, in order.

    `row_names` says how to call each row in a message (default "row 1", "row 2", ...).
    Raises `TableError` with every problem found; nothing is returned in part.
    """
    rows = _records(table)
    names = row_names or [f"row {number}" for number in range(1, len(rows) + 1)]
    problems = _missing_columns(rows)
    cells: list[Cell] = []
    if not problems:
        for row, name in zip(rows, names, strict=True):
            try:
                cells.append(row if isinstance(row, Cell) else Cell.model_validate(_without_blanks(row)))
            except ValidationError as error:
                problems.extend(_problems(error, name, row))
        problems.extend(across_rows(cells))
    if problems:
        raise TableError(source, problems)
    return tuple(cells)


def across_rows(cells: Sequence[Cell]) -> list[Problem]:
    """What single rows cannot show: ids used twice, two units of current density in one pair."""
    problems = [
        Problem(
            f"cell {cell_id}", "cell_id", "every cell_id once", f"{count} rows with it", "Give each cell its own id."
        )
        for cell_id, count in Counter(cell.cell_id for cell in cells).items()
        if count > 1
    ]
    units: dict[str, set[str]] = {}
    for cell in cells:
        units.setdefault(cell.electrode_pair, set()).add(cell.current_density_unit)
    problems += [
        Problem(
            f"pair {pair}",
            "current_density_unit",
            "one unit for an electrode pair",
            " and ".join(sorted(found)),
            "Convert to one of them; the electrode's loading is needed for that.",
        )
        for pair, found in units.items()
        if len(found) > 1
    ]
    return problems


def check_condition(condition: Condition | Mapping[str, Any]) -> Condition:
    """A `Condition` from itself or a mapping; raises `UserError` in plain words."""
    if isinstance(condition, Condition):
        return condition
    try:
        return Condition.model_validate(dict(condition))
    except ValidationError as error:
        problems = _problems(error, "condition", dict(condition))
        raise UserError("\n".join(str(problem) for problem in problems)) from None


def check_conditions(
    conditions: Condition | Mapping[str, Any] | Iterable[Condition | Mapping[str, Any]],
) -> list[Condition]:
    """One or several different conditions as a list; raises `UserError` in plain words."""
    several = [conditions] if isinstance(conditions, Condition | Mapping) else conditions
    checked = [check_condition(item) for item in several]
    if not checked or len(set(checked)) != len(checked):
        raise UserError("condition: expected one or several different conditions.")
    return checked


def to_frame(cells: Iterable[Cell | Mapping[str, Any]]) -> pd.DataFrame:
    """Cells, or their rows, as a DataFrame: every known column in the schema's order, then any other columns."""
    import pandas as pd

    empty = dict.fromkeys(COLUMNS)
    rows = [cell.model_dump() if isinstance(cell, Cell) else {**empty, **cell} for cell in cells]
    extra = list(dict.fromkeys(name for row in rows for name in row if name not in COLUMNS))
    return pd.DataFrame(rows, columns=[*COLUMNS, *extra])


def _records(table: pd.DataFrame | Iterable[Mapping[str, Any] | Cell]) -> list[Any]:
    """The rows of a table; every row of a frame has its columns, so an empty frame has no rows and no complaint."""
    return list(table.to_dict("records")) if hasattr(table, "to_dict") else list(table)


def _missing_columns(rows: Sequence[Any]) -> list[Problem]:
    """Required columns that no row fills: said once, not once a row."""
    tables = [_without_blanks(row) for row in rows if not isinstance(row, Cell)]
    if not tables:
        return []
    present = set().union(*tables)
    return [
        Problem("", name, "a column with values", "none", f"Columns found: {', '.join(sorted(present)) or 'none'}.")
        for name in REQUIRED
        if name not in present
    ]


def _without_blanks(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not _blank(value)}


def _blank(value: Any) -> bool:
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")


EXPECTED = {
    "missing": "a value",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of {ge:g} or more",
    "less_than_equal": "a number of {le:g} or less",
    "string_type": "text",
    "string_too_short": "a value",
    "string_too_long": "at most {max_length} characters",
    "literal_error": "{expected}",
    "extra_forbidden": "no such field",
}


def _problems(error: ValidationError, row_name: str, row: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for detail in error.errors(include_url=False):
        context = detail.get("ctx", {})
        column = context.get("column") or ".".join(str(part) for part in detail["loc"])
        expected = EXPECTED.get(detail["type"], detail["msg"]).format(**context)
        found = "nothing" if detail["type"] == "missing" else _quoted(row.get(column))
        problems.append(Problem(row_name, column, expected, found, context.get("remedy", "")))
    return problems


def _quoted(value: Any) -> str:
    if _blank(value):
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
