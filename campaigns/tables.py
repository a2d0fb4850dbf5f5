"""Tables of cells from files: .csv, .tsv, .txt, .xlsx and .parquet.

`read_table` gives every row as a `Cell`, or raises one `UserError` (the file as a whole) or `TableError` (its rows and
columns) that says where, what was expected, what was found and what to do. Nothing is returned in part.
Row numbers are those a spreadsheet shows. Units are converted in `campaigns.units`, rules are in `surrogates.cells`.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from campaigns.grid import ERRORS, Grid, Line, file_content, grid_of_text, read_grid
from campaigns.units import CONVERSIONS, Conversion, current_unit, fold, refused, spellings
from surrogates.cells import COLUMNS, REQUIRED, Cell, check_cells
from surrogates.errors import Problem, TableError

EMPTY_WORDS = ("nan", "inf", "infinity", "na", "n/a", "n.a.", "none", "null", "-", "--")
# A default for one of these fills only rows that hold the result it belongs to.
COMPANIONS = {"retention_cycles": "capacity_retention", "ce_protocol": "coulombic_efficiency"}
_EXPONENT = r"(?:e[+-]?\d+)?"
NUMBER = re.compile(rf"[+-]?(?:\d+(?:\.\d*)?|\.\d+){_EXPONENT}", re.IGNORECASE)
DECIMAL_COMMA = re.compile(rf"[+-]?\d*,\d+{_EXPONENT}", re.IGNORECASE)
GROUPED = re.compile(r"[+-]?\d[\d ,.'’\u00a0\u202f]*")


def _numeric_columns() -> frozenset[str]:
    properties = Cell.model_json_schema()["properties"]
    kinds = {name: [part.get("type") for part in rule.get("anyOf", [rule])] for name, rule in properties.items()}
    return frozenset(name for name, types in kinds.items() if {"number", "integer"} & set(types))


NUMERIC = _numeric_columns()


@dataclass(frozen=True)
class Table:
    """What a file holds: its cells in order, what the user should know about the reading, and where it came from."""

    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class _Heading:
    """A column of the file: its name there, the column it gives, and how its numbers are converted."""

    name: str
    column: str
    conversion: Conversion | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        stated = self.conversion is not None and self.conversion.current_unit
        return (self.column, "current_density_unit") if stated else (self.column,)


def read_table(path: Path | str, defaults: Mapping[str, Any] = {}) -> Table:
    """The cells of a file; `defaults` (column to value) fill columns that are absent and cells that are blank.

    Raises `UserError` or `TableError`.
    """
    return read_bytes(file_content(Path(path)), str(path), defaults)


def read_bytes(content: bytes, source: str, defaults: Mapping[str, Any] = {}) -> Table:
    """As `read_table`, from a file's content; the ending of `source` tells the format."""
    return _table(read_grid(content, source), source, defaults)


def read_text(text: str, source: str, defaults: Mapping[str, Any] = {}) -> Table:
    """As `read_table`, from text separated by commas, semicolons or tabs."""
    return _table(grid_of_text(text, source), source, defaults)


_Rows = dict[str, tuple[Line, dict[str, Any]]]
"""Under the name of each row: the row as it stands in the file, and as column to value."""


@dataclass(frozen=True)
class _Unread:
    """Why a value is not what its column holds."""

    expected: str
    remedy: str


def _table(grid: Grid, source: str, defaults: Mapping[str, Any]) -> Table:
    """All problems of the columns together, else all problems of the rows together, else the cells."""
    given = {name: value for name, value in defaults.items() if value is not None}
    headings = [_heading(name) for name in grid.header[1]]
    if problems := [*_misnamed(grid, headings), *_twice(grid, headings), *_missing(grid, headings, given)]:
        raise TableError(source, problems)
    comma = _has_decimal_commas(grid, headings, source)
    cells, taken = _cells(grid, headings, comma, given, source)
    notes = [*grid.notes, *(["decimal commas were read as such: 0,98 is 0.98"] if comma else [])]
    notes += [f"{each.name} converted to {each.column}" for each in headings if each.conversion]
    notes += [_unknown_note(each.name) for each in headings if each.name and each.column not in COLUMNS]
    if taken:
        notes.append(f"taken where the file gives none: {', '.join(f'{name} {given[name]}' for name in taken)}")
    return Table(cells, tuple(notes), source)


def _heading(value: Any) -> _Heading:
    name = "" if value is None else " ".join(str(value).split())
    folded = fold(name)
    conversion = CONVERSIONS.get(folded)
    return _Heading(name, conversion.column if conversion else folded if folded in COLUMNS else name, conversion)


def _misnamed(grid: Grid, headings: Sequence[_Heading]) -> Iterable[Problem]:
    place = f"row {grid.header[0]}"
    for position, heading in enumerate(headings):
        choices = ", ".join(refused(fold(heading.name)))
        if not heading.name and any(len(values) > position and values[position] is not None for _, values in grid.rows):
            yield Problem(
                place, str(position + 1), "a name over a column with values", "no name", "Name it or clear it."
            )
        elif choices and "torque" in fold(heading.name):
            remedy = f"Torque is not a pressure measurement: give one of {choices}; a torque can stand in note."
            yield Problem(place, heading.name, "a measured pressure", "a torque", remedy)
        elif choices and heading.column not in COLUMNS:
            yield Problem(place, heading.name, "a name that tells the unit", heading.name, f"It could be {choices}.")


def _twice(grid: Grid, headings: Sequence[_Heading]) -> Iterable[Problem]:
    first: dict[str, str] = {}
    for heading in headings:
        for target in filter(None, heading.targets):
            key = target if target in COLUMNS else fold(target) or target
            if key in first:
                found = f"{first[key]} and {heading.name}"
                yield Problem(
                    f"row {grid.header[0]}", heading.name, f"one column for {key}", found, "Keep one of them."
                )
            first.setdefault(key, heading.name)


def _missing(grid: Grid, headings: Sequence[_Heading], given: Mapping[str, Any]) -> Iterable[Problem]:
    """Required columns that nothing gives, in one problem; a refused header has been told of its own already."""
    present = {target for heading in headings for target in heading.targets} | set(given)
    present |= {column for heading in headings for column in refused(fold(heading.name))}
    if missing := [name for name in REQUIRED if name not in present]:
        found = ", ".join(heading.name for heading in headings if heading.name)
        others = [
            f" {name} may also be {', '.join(spellings(name)[1:5])}." for name in missing if len(spellings(name)) > 1
        ]
        hints = [_hint(heading.name) for heading in headings if heading.column not in COLUMNS]
        remedy = "".join(["Name them in the header.", *others, *hints])
        yield Problem(f"row {grid.header[0]}", "", f"the columns {', '.join(missing)}", found[:500], remedy)


def _hint(name: str) -> str:
    folded, known = fold(name), [*COLUMNS, *CONVERSIONS]
    near = [other for other in known if folded.endswith(f"_{other}")] or get_close_matches(folded, known, 1, 0.85)
    return f" {name}: did you mean {near[0]}?" if near else ""


def _unknown_note(name: str) -> str:
    return f"{name} is not a column of the table of cells; it was kept as it came.{_hint(name)}"


def _has_decimal_commas(grid: Grid, headings: Sequence[_Heading], source: str) -> bool:
    """Whether commas in numbers are decimal marks: between semicolons, and where no number has a point."""
    if grid.delimiter != ";":
        return False
    texts = [
        (Problem(f"row {number}", heading.name, "one decimal mark in a file", str(value)), str(value))
        for number, values in grid.rows
        for heading, value in zip(headings, values, strict=False)
        if heading.column in NUMERIC
    ]
    commas = [place for place, text in texts if DECIMAL_COMMA.fullmatch(text)]
    points = [place for place, text in texts if "." in text and NUMBER.fullmatch(text)]
    if commas and points:
        found = f"{commas[0].found} here and {points[0].found} in {points[0].row}, column {points[0].column}"
        raise TableError(source, [replace(commas[0], found=found, remedy="Write all numbers with a decimal point.")])
    return bool(commas)


def _cells(
    grid: Grid, headings: Sequence[_Heading], comma: bool, given: Mapping[str, Any], source: str
) -> tuple[tuple[Cell, ...], list[str]]:
    """The rows as cells, and the defaults that were needed."""
    problems = [_too_long(line, grid, headings) for line in grid.rows if len(line[1]) > len(headings)]
    rows: _Rows = {}
    for line in grid.rows:
        if len(line[1]) <= len(headings):
            row, unread = _row(line, headings, comma)
            rows[f"row {line[0]}"] = (line, row)
            problems += unread
    problems += _not_percent(headings, [row for _, row in rows.values()], grid.header[0])
    whole = [_with_defaults(row, given) for _, row in rows.values()]
    cells: tuple[Cell, ...] = ()
    try:
        cells = check_cells(whole, source, list(rows))
    except TableError as error:
        told = {(problem.row, problem.column) for problem in problems}
        places = _places(rows)
        placed = [_placed(problem, rows, places, headings) for problem in error.problems]
        problems += [problem for problem in placed if (problem.row, problem.column) not in told]
    if problems:
        order = {f"row {number}": number for number, _ in (grid.header, *grid.rows)}
        raise TableError(source, sorted(problems, key=lambda problem: order.get(problem.row, math.inf)))
    taken = {name for full, (_, row) in zip(whole, rows.values(), strict=True) for name in full.keys() - row.keys()}
    return cells, [name for name in given if name in taken]


def _too_long(line: Line, grid: Grid, headings: Sequence[_Heading]) -> Problem:
    remedy = {
        "": "Name the column or clear the cell.",
        ",": "Text with a comma belongs in quotes; numbers with decimal commas need ';' between the fields.",
    }.get(grid.delimiter, "Text that holds the separator belongs in quotes.")
    return Problem(f"row {line[0]}", "", f"{len(headings)} fields, as in the header", str(len(line[1])), remedy)


def _row(line: Line, headings: Sequence[_Heading], comma: bool) -> tuple[dict[str, Any], list[Problem]]:
    """A row as column to value, and what could not be read in it."""
    row: dict[str, Any] = {}
    problems = []
    for heading, raw in zip(headings, line[1], strict=False):
        if raw is None or not heading.name:
            continue
        value = _value(raw, heading, comma)
        if isinstance(value, _Unread):
            problems.append(Problem(f"row {line[0]}", heading.name, value.expected, _shown(raw), value.remedy))
            value = raw
        row[heading.column] = value
        if heading.conversion and heading.conversion.current_unit:
            row["current_density_unit"] = heading.conversion.current_unit
    return row, problems


def _value(raw: Any, heading: _Heading, comma: bool) -> Any:
    """`raw` as its column holds it, or an `_Unread`; in an unknown column as text."""
    numeric = heading.column in NUMERIC
    if heading.column in COLUMNS and isinstance(raw, str) and raw in ERRORS:
        return _Unread("a number" if numeric else "text", "That is a spreadsheet error: mend it or clear the cell.")
    if numeric:
        value = _number(raw, heading, comma)
        return heading.conversion(value) if heading.conversion and isinstance(value, float) else value
    if heading.column == "cell_id" and isinstance(raw, datetime.date):
        return _Unread("text", "The spreadsheet made a date of it: format the column as text and type it again.")
    return current_unit(_as_text(raw)) if heading.column == "current_density_unit" else _as_text(raw)


def _as_text(raw: Any) -> str:
    if isinstance(raw, datetime.datetime):
        return raw.isoformat(" ") if raw.time() != datetime.time() else raw.date().isoformat()
    return str(raw).upper() if isinstance(raw, bool) else str(raw)


def _number(raw: Any, heading: _Heading, comma: bool) -> float | _Unread:
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        return _Unread("a number", "Format the column as numbers and type the value again.")
    text = str(raw).replace("−", "-")
    if comma and DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return float(text) if NUMBER.fullmatch(text) else _Unread(*_advice(text, heading))


def _advice(text: str, heading: _Heading) -> tuple[str, str]:
    """What was expected in place of `text`, and what to do."""
    if text.lower().lstrip("+-") in EMPTY_WORDS:
        return "a finite number", "Leave the cell empty where there is no value."
    if GROUPED.fullmatch(text):
        return "a number", (
            "Commas and blanks inside a number can mean thousands or decimals: write 1000 or 0.984. "
            "Decimal commas are read only where ';' stands between the fields."
        )
    if re.match(rf"{NUMBER.pattern}\s*[^\W\d_]|.*[%°]", text, re.IGNORECASE):
        units = ", ".join(spellings(heading.column)[:4])
        return "a number", f"Put the unit in the header ({units}) and the number alone in the cell."
    return "a number", "Write a plain number such as 0.984, or leave the cell empty."


def _shown(raw: Any) -> str:
    if isinstance(raw, datetime.date):
        return f"the date {_as_text(raw)}"
    text = repr(raw) if isinstance(raw, str) and raw not in ERRORS else _as_text(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _not_percent(headings: Sequence[_Heading], rows: Sequence[Mapping[str, Any]], header_row: int) -> list[Problem]:
    """Columns of percentages that hold fractions: a cell formatted as 98.4 % holds 0.984."""
    problems = []
    for heading in headings:
        values = [row[heading.column] for row in rows if isinstance(row.get(heading.column), float)]
        if fold(heading.name).endswith("_percent") and heading.conversion and values and 0 < max(values) <= 0.02:
            found = f"no value above {max(values) * 100:g}"
            remedy = f"If these are fractions, name the column {heading.column}."
            problems.append(Problem(f"row {header_row}", heading.name, "percentages", found, remedy))
    return problems


def _with_defaults(row: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`row` with its blanks filled; a current density is never put under the unit of another."""
    fitting = {name: value for name, value in given.items() if name not in COMPANIONS or COMPANIONS[name] in row}
    unit = given.get("current_density_unit")
    if row.get("current_density_unit", unit) != unit:
        fitting.pop("current_density", None)
    return {**fitting, **row}


def _placed(problem: Problem, rows: _Rows, where: Mapping[str, list[int]], headings: Sequence[_Heading]) -> Problem:
    """A problem of the schema in the file's own words: its rows, its column name, its value."""
    if numbers := where.get(problem.row):
        found = f"rows {', '.join(map(str, numbers[:10]))}{', ...' * (len(numbers) > 10)}"
        return replace(problem, found=found if problem.column == "cell_id" else f"{problem.found} in {found}")
    (_, values), row = rows.get(problem.row, ((0, []), {}))
    for heading, raw in zip(headings, values, strict=False):
        if heading.column == problem.column and raw is not None:
            value = row[heading.column]
            converted = heading.conversion and isinstance(value, float)
            found = f"{_shown(raw)} ({value:g} as {heading.column})" if converted else _shown(raw)
            return replace(problem, column=heading.name, found=found)
    return problem


def _places(rows: _Rows) -> dict[str, list[int]]:
    """The rows of each cell_id and electrode pair, under the names that the schema's problems give them."""
    places: dict[str, list[int]] = {}
    for (number, _), row in rows.values():
        pair = "||".join(part.strip() for part in str(row.get("electrode_pair")).split("||"))
        for name in (f"cell {row.get('cell_id')}", f"pair {pair}"):
            places.setdefault(name, []).append(number)
    return places
