"""Files of cells: what is read, what is refused, and whether the message says where and what to do."""

import datetime
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from campaigns import grid, tables
from campaigns.export import write_table
from campaigns.tables import read_bytes, read_table, read_text
from surrogates.cells import COLUMNS, Cell
from surrogates.errors import TableError, UserError

CONDITION = {
    "electrode_pair": "Zn||Ti",
    "electrolyte": "1 M ZnSO4",
    "current_density": 1.0,
    "current_density_unit": "mA/cm2",
}
HEADER = "cell_id,electrode_pair,electrolyte,pressure_kpa,current_density,current_density_unit,status"
ROW = "a1,Zn||Ti,1 M ZnSO4,300,1,mA/cm2,running"
FULL = f"{HEADER}\n{ROW}\n"
SHORT = "cell_id,pressure_kpa,status\na1,300,running\n"
CELL = Cell(cell_id="a1", pressure_kpa=300, status="running", **CONDITION)


def short(text: str, source: str = "cells.csv") -> tables.Table:
    return read_text(text, source, CONDITION)


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        read()
    return str(caught.value)


def assert_says(message: str, *words: str) -> None:
    assert [word for word in words if word not in message] == []


def workbook(*sheets: Sequence[Sequence[Any]], merge: str = "") -> bytes:
    book = openpyxl.Workbook()
    for number, rows in enumerate(sheets):
        sheet = book.worksheets[0] if number == 0 else book.create_sheet()
        sheet.title = f"S{number + 1}"
        for row in rows:
            sheet.append(list(row))
        if merge:
            sheet.merge_cells(merge)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


TABLE = [["cell_id", "pressure_kpa", "status"], ["a1", 300, "running"]]


# --- what is read


def test_a_plain_file_is_read_without_notes(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(FULL)
    assert read_table(path) == tables.Table((CELL,), (), str(path))
    assert read_table(str(path)).cells == (CELL,)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".CSV"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_recognised(suffix: str, delimiter: str, newline: str) -> None:
    text = FULL.replace(",", delimiter).replace("\n", newline)
    assert read_bytes(text.encode(), f"cells{suffix}").cells == (CELL,)


def test_a_declared_delimiter_is_no_row_as_in_a_spreadsheet() -> None:
    text = "sep=;\n" + SHORT.replace(",", ";")
    assert short(text).cells == (CELL,)
    assert_says(refusal(lambda: short(text.replace("300", "-3"))), "row 2, column pressure_kpa")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "cp1252"])
def test_encodings(encoding: str) -> None:
    extra, value = ("电解液", "硫酸锌") if encoding != "cp1252" else ("Größe", "5 µm")
    text = f"cell_id,pressure_kpa,status,{extra}\na1,300,running,{value}\n"
    table = read_bytes(text.encode(encoding), "cells.csv", CONDITION)
    assert table.cells[0].row()[extra] == value
    name = {"utf-16": "UTF-16", "gb18030": "GB18030", "cp1252": "Latin-1"}.get(encoding, "")
    assert any(name in note for note in table.notes)
    assert any("read as" in note for note in table.notes) == bool(name)


def test_latin_1_bytes_that_windows_does_not_know() -> None:
    table = read_bytes(b"cell_id,pressure_kpa,status,x\na1,3,running,\x81 \xb5\n", "cells.csv", CONDITION)
    assert any("Latin-1" in note for note in table.notes)


def test_chinese_headers_are_readable_in_the_answer() -> None:
    content = "电芯,压力/kPa,循环寿命（h）\n1,300,20\n".encode("gb18030")
    message = refusal(lambda: read_bytes(content, "电池.csv"))
    assert_says(message, "电池.csv", "row 1", "pressure_kpa", "cell_id", "压力/kPa", "循环寿命（h）", "pressure_psi")
    assert "1 problem;" in message


def test_defaults_fill_absent_columns_and_blank_cells_and_say_so() -> None:
    table = short("cell_id,pressure_kpa,status,electrolyte\na1,300,running,\na2,300,running,2 M\n")
    assert [cell.electrolyte for cell in table.cells] == ["1 M ZnSO4", "2 M"]
    assert any("electrolyte 1 M ZnSO4" in note and "the file gives none" in note for note in table.notes)
    assert any("electrode_pair Zn||Ti" in note for note in table.notes)


def test_defaults_that_were_not_needed_or_are_none_are_not_mentioned() -> None:
    assert read_text(FULL, "cells.csv", {**CONDITION, "separator": None}).notes == ()


def test_a_default_current_density_never_gets_the_unit_of_another() -> None:
    text = "cell_id,pressure_kpa,status,current_density_unit\na1,300,running,A/g\n"
    assert_says(refusal(lambda: short(text)), "current_density", "none")
    text = "cell_id,pressure_kpa,status,current_density,current_density_unit\na1,300,running,,A/g\na2,3,running,2,A/g\n"
    assert_says(refusal(lambda: short(text)), "row 2, column current_density: expected a value; found nothing")


def test_a_default_cycle_number_fills_only_rows_with_a_retention() -> None:
    text = "cell_id,pressure_kpa,status,capacity_retention\na1,300,running,0.9\na2,300,running,\n"
    cells = read_text(text, "cells.csv", {**CONDITION, "retention_cycles": 100}).cells
    assert [cell.retention_cycles for cell in cells] == [100, None]


def test_units_in_headers_are_converted_with_a_note() -> None:
    table = short("Cell ID,Pressure (psi),status,Cycle life [d],Temperature / K\na1,10,ended,2,298.15\n")
    cell = table.cells[0]
    assert (cell.pressure_kpa, cell.cycle_life_h, cell.temperature_c) == (68.94757, 48.0, 25.0)
    assert "Pressure (psi) converted to pressure_kpa" in table.notes


def test_a_header_can_state_the_unit_of_the_current_density() -> None:
    table = short("cell_id,pressure_kpa,status,Current density (A/g)\na1,300,running,0.5\n")
    assert (table.cells[0].current_density, table.cells[0].current_density_unit) == (0.5, "A/g")
    text = "cell_id,pressure_kpa,status,current_density,current_density_unit\na1,300,running,2,mA cm⁻²\n"
    assert short(text).cells[0].current_density_unit == "mA/cm2"


def test_unknown_columns_are_kept_and_named_and_a_near_miss_is_pointed_out() -> None:
    table = short("cell_id,pressure_kpa,status,Operator,cycle_life_hh\na1,300,ended,Li,88\n")
    assert table.cells[0].row()["Operator"] == "Li"
    assert [note for note in table.notes if "Operator" in note and "kept as it came" in note]
    assert [note for note in table.notes if "did you mean cycle_life_h?" in note]
    assert not [note for note in table.notes if "Operator: did you mean" in note]


def test_comments_and_blank_lines_count_as_rows_and_hold_no_cells() -> None:
    text = f'# Li, "et al.\n"# Joule, 2020",,\n\n,,,\n{HEADER}\n\n# second batch\n#12{ROW[2:]}\n'
    table = read_text(text, "cells.csv")
    assert [cell.cell_id for cell in table.cells] == ["#12"]
    assert table.notes == ("row 7 was taken as a comment",)
    assert_says(refusal(lambda: read_text(text.replace(",300,", ",x,"), "cells.csv")), "row 8, column pressure_kpa")


def test_quoted_newlines_are_one_row() -> None:
    text = 'cell_id,pressure_kpa,status,note\na1,300,running,"one\ntwo, three"\na2,-1,running,\n'
    assert_says(refusal(lambda: short(text)), "row 3, column pressure_kpa")
    assert short(text.replace("-1", "1")).cells[0].note == "one\ntwo, three"


def test_short_rows_have_blanks_at_their_end() -> None:
    assert short("cell_id,pressure_kpa,status,note,separator\na1,300,running\n").cells == (CELL,)


def test_decimal_commas_between_semicolons() -> None:
    text = "cell_id;pressure_kpa;status;coulombic_efficiency;ce_protocol;note\na1;300,5;ended;,984;reservoir;v1.2\n"
    table = short(text)
    assert (table.cells[0].pressure_kpa, table.cells[0].coulombic_efficiency) == (300.5, 0.984)
    assert any("decimal commas" in note for note in table.notes)


@pytest.mark.parametrize("text", ["300", " 300 ", "3e2", "+300.0", "300."])
def test_plain_numbers(text: str) -> None:
    assert short(SHORT.replace("300", text)).cells == (CELL,)


def test_typographic_minus() -> None:
    text = "cell_id,pressure_kpa,status,nucleation_overpotential_mv\na1,300,running,−45\n"
    assert short(text).cells[0].nucleation_overpotential_mv == -45


# --- rows that are refused


COLUMN_FAULTS = [
    ("pressure_kpa", "-5", ["a number above 0", "'-5'"]),
    ("pressure_kpa", "0", ["a number above 0"]),
    ("pressure_kpa", "high", ["a number", "'high'", "plain number"]),
    ("pressure_kpa", "300 kPa", ["a number", "'300 kPa'", "unit in the header", "pressure_psi"]),
    ("pressure_kpa", '"1,000"', ["a number", "'1,000'", "write 1000"]),
    ("pressure_kpa", "1 000", ["a number", "'1 000'", "write 1000"]),
    ("pressure_kpa", "1'000", ["a number", "write 1000"]),
    ("pressure_kpa", "NaN", ["a finite number", "'NaN'", "Leave the cell empty"]),
    ("pressure_kpa", "-inf", ["a finite number", "'-inf'"]),
    ("pressure_kpa", "1e999", ["a finite number", "'1e999'"]),
    ("pressure_kpa", "N/A", ["a finite number", "Leave the cell empty"]),
    ("pressure_kpa", "#DIV/0!", ["found #DIV/0!", "spreadsheet error", "clear the cell"]),
    ("electrolyte", "#N/A", ["expected text; found #N/A", "spreadsheet error"]),
    ("pressure_kpa", "1_000", ["a number"]),
    ("pressure_kpa", "0x10", ["a number"]),
    ("pressure_kpa", "", ["a value", "nothing"]),
    ("coulombic_efficiency", "98.4", ["fraction", "98.4", "coulombic_efficiency_percent"]),
    ("coulombic_efficiency", "98.4%", ["a number", "'98.4%'", "coulombic_efficiency_percent"]),
    ("coulombic_efficiency", "1.02", ["fraction", "1.02", "soft short"]),
    ("capacity_retention", "92", ["fraction", "capacity_retention_percent"]),
    ("capacity_retention", "0.92", ["retention_cycles", "together"]),
    ("retention_cycles", "10.5", ["a whole number", "'10.5'"]),
    ("status", "dead", ["'dead'", "ended"]),
    ("electrode_pair", "Zn", ["||", "'Zn'"]),
]


@pytest.mark.parametrize(("column", "value", "words"), COLUMN_FAULTS)
def test_a_wrong_value_is_named_with_its_place(column: str, value: str, words: list[str]) -> None:
    row = {"cell_id": "b2", "pressure_kpa": "300", "status": "running", column: value}
    sound = {**CONDITION, "cell_id": "ok", "pressure_kpa": "300", "status": "running"}
    text = "\n".join([",".join(row), ",".join(str(sound.get(name, "")) for name in row), ",".join(row.values())])
    defaults = {name: given for name, given in CONDITION.items() if name != column}
    message = refusal(lambda: read_text(text, "my cells.csv", defaults))
    assert_says(message, "my cells.csv: 1 problem; nothing was stored", "row 3", column, *words)


def test_a_unit_of_current_that_is_not_known() -> None:
    message = refusal(lambda: read_text(FULL.replace("mA/cm2", "mA/g"), "cells.csv"))
    assert_says(message, "1 problem", "row 2, column current_density_unit", "'mA/g'", "mA/cm2")


def test_a_problem_in_a_converted_column_shows_what_the_user_wrote() -> None:
    message = refusal(lambda: short("cell_id,Pressure [psi],status\na1,-10,running\na2,1e999,running\n"))
    assert_says(message, "row 2, column Pressure [psi]", "'-10' (-68.9476 as pressure_kpa)", "row 3", "'1e999'")


def test_all_problems_come_together_in_order_of_rows() -> None:
    rows = ["a1,-1,running", "a2,x,running", "a3,1,running,more", "a4,1,dead", "a5,1,running", "a5,1,running"]
    text = "\n".join(["cell_id,pressure_kpa,status", *rows])
    message = refusal(lambda: short(text))
    assert "5 problems; nothing was stored" in message
    lines = message.splitlines()[1:]
    assert [line.split()[1].strip(",:") for line in lines] == ["2", "3", "4", "5", "a5"]
    many = "cell_id,pressure_kpa,status\n" + "".join(f"a{n},-1,running\n" for n in range(30))
    assert_says(refusal(lambda: short(many)), "30 problems", "... and 10 more")


def test_a_cell_id_twice_is_named_with_its_rows() -> None:
    message = refusal(lambda: short(SHORT + "\n a1 ,200,running\n"))
    assert_says(message, "cell a1, column cell_id", "rows 2, 4", "own id")


def test_two_units_of_current_in_one_pair() -> None:
    message = refusal(lambda: read_text(f"{FULL}{ROW.replace('a1', 'a2').replace('mA/cm2', 'A/g')}\n", "cells.csv"))
    assert_says(message, "pair Zn||Ti", "current_density_unit", "A/g and mA/cm2", "rows 2, 3", "Convert")


def test_rows_longer_than_the_header() -> None:
    assert_says(
        refusal(lambda: short(SHORT + "a2,0,98,running\n")), "row 3", "3 fields", "found 4", "decimal commas", "';'"
    )
    message = refusal(lambda: short((SHORT + "a2,1,running,x\n").replace(",", "\t")))
    assert_says(message, "row 3", "3 fields", "found 4", "quotes")
    assert short(SHORT.replace("running", "running,,,")).cells == (CELL,)


def test_decimal_commas_that_are_not_plain() -> None:
    text = "cell_id;pressure_kpa;status;cycle_life_h\na1;300,5;ended;20\na2;300;ended;20.5\n"
    message = refusal(lambda: short(text))
    assert_says(
        message, "1 problem", "row 2, column pressure_kpa", "300,5", "20.5", "row 3, column cycle_life_h", "point"
    )
    assert_says(refusal(lambda: short(SHORT.replace("300", '"0,98"'))), "row 2", "'0,98'", "';'")
    assert_says(refusal(lambda: short(SHORT.replace(",", ";").replace("300", "1.000,5"))), "row 2", "'1.000,5'")


@pytest.mark.parametrize("values", [("0.984",), ("0.984", "0.991")])
def test_percentages_that_are_fractions(values: Sequence[str]) -> None:
    rows = "".join(f"a{n},300,ended,{value},reservoir\n" for n, value in enumerate(values))
    header = "cell_id,pressure_kpa,status,Coulombic efficiency (%),ce_protocol\n"
    message = refusal(lambda: short(header + rows))
    assert_says(
        message, "row 1", "Coulombic efficiency (%)", "percentages", max(values), "name the column coulombic_effic"
    )
    assert short((header + rows).replace("0.", "").replace("984", "98.4").replace("991", "99.1")).cells


def test_unpaired_quotes_do_not_swallow_rows() -> None:
    text = SHORT.replace("running", '"running') + "a2,300,running\n"
    assert_says(refusal(lambda: short(text)), "cells.csv, row 2", "paired quotes", "inside quotes")


# --- headers that are refused


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Pressure", ["column Pressure", "unit", "pressure_kpa", "pressure_psi"]),
        ("pressure_sd", ["column pressure_sd", "pressure_sd_kpa"]),
        ("life", ["column life", "cycle_life_h", "cycle_life_cycles"]),
        ("temperature", ["column temperature", "temperature_c", "temperature_k"]),
        ("Torque (N m)", ["column Torque (N m)", "not a pressure measurement", "pressure_kpa"]),
        (
            "pressure psi",
            ["column pressure psi", "one column for pressure_kpa", "pressure_kpa and pressure psi", "Keep one"],
        ),
        ("Pressure (kPa)", ["one column for pressure_kpa", "Keep one"]),
        ("STATUS", ["one column for status", "status and STATUS"]),
    ],
)
def test_headers_that_cannot_be_taken(header: str, words: list[str]) -> None:
    message = refusal(lambda: short(f"cell_id,pressure_kpa,status,{header}\na1,300,running,5\n"))
    assert_says(message, "cells.csv: 1 problem", "row 1", *words)


def test_a_bare_pressure_is_said_once() -> None:
    message = refusal(lambda: short("# x\ncell_id,pressure,status\na1,300,running\n"))
    assert_says(message, "cells.csv: 1 problem", "row 2, column pressure", "pressure_mpa")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("stacking_pressure_kpa", ["did you mean pressure_kpa?"]),
        ("pressure_torr", ["pressure_psi", "pressure_torr"]),
        ("druck", ["found cell_id, druck, status"]),
    ],
)
def test_missing_columns_are_told_with_those_that_were_found(header: str, words: list[str]) -> None:
    message = refusal(lambda: short(f"cell_id,{header},status\na1,300,running\n"))
    assert_says(message, "1 problem", "row 1", "expected the columns pressure_kpa; found", *words)


def test_a_unit_of_current_stated_twice() -> None:
    text = "cell_id,pressure_kpa,status,current_density_a_g,current_density_unit\na1,300,running,1,A/g\n"
    assert_says(refusal(lambda: short(text)), "one column for current_density_unit", "Keep one")


def test_a_required_column_without_values() -> None:
    assert_says(
        refusal(lambda: short("cell_id,pressure_kpa,status\na1,,running\n")), "pressure_kpa", "with values", "none"
    )


def test_values_under_no_name() -> None:
    message = refusal(lambda: short("cell_id,,pressure_kpa,status\na1,5,300,running\n"))
    assert_says(message, "cells.csv: 1 problem", "row 1, column 2", "no name", "Name it or clear it")


def test_empty_columns_without_a_name_do_no_harm() -> None:
    assert short("cell_id,,pressure_kpa,status,,\na1,,300,running,,\n").cells == (CELL,)


# --- files that are refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["an empty table", "cell_id"]),
        (b"\xef\xbb\xbf", ["an empty table"]),
        (b"# only a comment\n\n", ["an empty table"]),
        (b"# c\n" + HEADER.encode(), ["only a header in row 2"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", ["binary content", "CSV UTF-8"]),
        (b"PK\x03\x04rest", ["a spreadsheet file or archive", ".xlsx"]),
        (b"\xd0\xcf\x11\xe0rest", ["a spreadsheet file"]),
        (b"\xff\xfea", ["damaged UTF-16", "CSV UTF-8"]),
        (FULL.encode("utf-16-le"), ["binary content"]),
        (f"{FULL}{'x' * 140_000}".encode(), ["row 3", "field"]),
    ],
)
def test_text_files_that_cannot_be_taken(content: bytes, words: list[str]) -> None:
    assert_says(refusal(lambda: read_bytes(content, "cells.csv")), "cells.csv", *words)


@pytest.mark.parametrize("name", ["a.xls", "a.ods", "a.numbers", "a.feather", "a.xlsb", "a"])
def test_other_formats(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert_says(refusal(lambda: read_table(tmp_path / name)), str(tmp_path / name), "expected .csv", "save it as .xlsx")


def test_no_file_a_folder_a_device_and_an_impossible_name(tmp_path: Path) -> None:
    assert_says(refusal(lambda: read_table(tmp_path / "no.csv")), "no.csv", "No such file", "Check its name")
    assert_says(refusal(lambda: read_table(tmp_path)), str(tmp_path), "a folder", "Name one")
    assert_says(refusal(lambda: read_table(os.devnull)), "not a file")
    assert_says(refusal(lambda: read_table("a\0b.csv")), "null")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(FULL)

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert_says(refusal(lambda: read_table(path)), str(path), "Permission denied", "permissions")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cells.csv"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("was read"))
    assert_says(refusal(lambda: read_table(path)), str(path), "at most 50 MB", "2,000 MB", "leave out")
    monkeypatch.setattr(grid, "MAX_BYTES", 10)
    assert_says(refusal(lambda: read_bytes(FULL.encode(), "cells.csv")), "at most")


# --- workbooks


def xlsx(*sheets: Sequence[Sequence[Any]], merge: str = "") -> tables.Table:
    return read_bytes(workbook(*sheets, merge=merge), "cells.xlsx", CONDITION)


def test_a_workbook_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.xlsx"
    path.write_bytes(workbook([["# Li et al."], [], *TABLE, [None, None], ["a2", "200", "running", None]]))
    table = read_table(path, CONDITION)
    assert [(cell.cell_id, cell.pressure_kpa) for cell in table.cells] == [("a1", 300.0), ("a2", 200.0)]


def test_workbook_rows_are_those_shown() -> None:
    message = refusal(lambda: xlsx([["# Li et al."], [], *TABLE, [None], ["a2", -1, "running"]]))
    assert_says(message, "cells.xlsx", "row 6, column pressure_kpa", "-1")


def test_the_sheet_with_cell_ids_is_taken() -> None:
    notes = [["notes"], ["dry room"]]
    assert_says("".join(xlsx(notes, TABLE).notes), "sheet S2 was read, not S1")
    assert_says("".join(xlsx(TABLE, notes, TABLE).notes), "sheet S1 was read, not S2, S3")
    assert_says(refusal(lambda: xlsx(notes, TABLE, TABLE)), "one sheet", "S2, S3", "first sheet")
    assert_says(refusal(lambda: xlsx(notes, notes)), "row 1", "found notes")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("pressure_kpa", datetime.datetime(2024, 3, 1), ["a number", "the date 2024-03-01", "as numbers"]),
        ("pressure_kpa", datetime.time(3, 1), ["a number", "03:01:00"]),
        ("pressure_kpa", True, ["a number", "TRUE"]),
        ("pressure_kpa", "#DIV/0!", ["found #DIV/0!", "spreadsheet error"]),
        ("pressure_kpa", "300 kPa", ["unit in the header"]),
        ("pressure_kpa", "0,98", ["'0,98'", "write 1000 or 0.984"]),
        ("cell_id", datetime.datetime(2024, 3, 1), ["text", "the date 2024-03-01", "as text"]),
    ],
)
def test_workbook_values_of_the_wrong_kind(column: str, value: Any, words: list[str]) -> None:
    row = {"cell_id": "a2", "pressure_kpa": 1, "status": "running", column: value}
    message = refusal(lambda: xlsx([*TABLE, list(row.values())]))
    assert_says(message, "cells.xlsx: 1 problem", f"row 3, column {column}", *words)


def test_workbook_values_in_text_columns() -> None:
    date = datetime.datetime(2024, 3, 1)
    table = xlsx([[*TABLE[0], "assembly_batch", "x", "y"], [7, 300, "running", date, 4.5, True]])
    row = table.cells[0].row()
    assert (row["cell_id"], row["assembly_batch"], row["x"], row["y"]) == ("7", "2024-03-01", "4.5", "TRUE")


def test_merged_cells_below_the_header_are_refused_and_above_it_not() -> None:
    assert xlsx([["# a title"], *TABLE], merge="A1:C1").cells == (CELL,)
    message = refusal(lambda: xlsx([*TABLE, ["a2", None, "running"]], merge="B2:B3"))
    assert_says(message, "cells.xlsx", "B2:B3", "Unmerge")


def test_formulas_that_were_never_calculated_are_refused() -> None:
    assert_says(
        refusal(lambda: xlsx([*TABLE, ["a2", "=B2*2", "running"]])), "cells.xlsx", "formulas", "B3", "save it again"
    )


def test_values_outside_the_header_and_empty_workbooks() -> None:
    assert_says(
        refusal(lambda: xlsx([*TABLE, ["a2", 1, "running", "x"]])), "row 3", "3 fields", "found 4", "Name the column"
    )
    assert_says(refusal(lambda: xlsx([])), "empty table")
    assert_says(refusal(lambda: xlsx(TABLE[:1])), "only a header in row 1")


@pytest.mark.parametrize("content", [b"", b"cell_id,x\n", workbook(TABLE)[:2000], b"PK\x03\x04" + bytes(100)])
def test_a_broken_workbook(content: bytes) -> None:
    message = refusal(lambda: read_bytes(content, "cells.xlsx"))
    assert_says(message, "cells.xlsx: expected an .xlsx workbook", "damaged", "save it as .xlsx")


def test_another_kind_of_archive() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    assert_says(refusal(lambda: read_bytes(stream.getvalue(), "cells.xlsx")), "damaged file or another kind")


def test_old_and_locked_workbooks() -> None:
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    locked = old + "EncryptedPackage".encode("utf-16-le")
    assert_says(refusal(lambda: read_bytes(old, "cells.xlsx")), "an old .xls workbook", "save it as .xlsx")
    assert_says(refusal(lambda: read_bytes(locked, "cells.xlsx")), "locked with a password", "Take the password off")


def test_a_zip_bomb_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(21):
            archive.writestr(f"xl/worksheets/sheet{number}.xml", bytes(10_000_000))
    monkeypatch.setattr(openpyxl, "load_workbook", lambda *_, **__: pytest.fail("was opened"))
    message = refusal(lambda: read_bytes(stream.getvalue(), "cells.xlsx"))
    assert_says(message, "cells.xlsx", "at most 200 MB", "210 MB unpacked", "leave out")


def test_a_sheet_that_states_a_wrong_size_is_read_in_full() -> None:
    parts = zipfile.ZipFile(io.BytesIO(workbook([*TABLE, ["a2", 200, "running"]])))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in parts.namelist():
            archive.writestr(name, parts.read(name).replace(b'ref="A1:C3"', b'ref="A1:A1"'))
    assert len(read_bytes(stream.getvalue(), "cells.xlsx", CONDITION).cells) == 2


def test_neither_pandas_nor_openpyxl_is_imported_for_text() -> None:
    code = "import sys, campaigns.tables as t; t.read_text(sys.argv[1], 'x.csv'); print(*sys.modules)"
    root = Path(tables.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, FULL], cwd=root, capture_output=True, text=True, check=True)
    assert not {"pandas", "openpyxl"} & set(done.stdout.split())


# --- writing


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(str.strip)
WORDS = TEXT.map(str.strip).filter(lambda text: text not in tables.ERRORS)
POSITIVE = st.floats(min_value=1e-6, max_value=1e5)


@st.composite
def cells(draw: st.DrawFn) -> tuple[Cell, ...]:
    names = draw(st.lists(WORDS, min_size=1, max_size=4, unique=True))
    optional = {
        "pressure_sd_kpa": POSITIVE,
        "cycle_life_h": POSITIVE,
        "nucleation_overpotential_mv": st.floats(-500, 500),
        "relative_density": st.floats(0.01, 1),
        "note": st.tuples(WORDS, st.sampled_from([" ", "\n", "\r\n", '"', ";", ",", "\t"]), WORDS).map("".join),
        "separator": WORDS,
        "x operator": WORDS,
        "电解液": WORDS,
    }
    return tuple(
        Cell.model_validate(
            {
                **CONDITION,
                "cell_id": name,
                "pressure_kpa": draw(POSITIVE),
                "status": "running",
                **draw(st.fixed_dictionaries({}, optional=optional)),
            }
        )
        for name in names
    )


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet"])
@given(rows=cells())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back(suffix: str, tmp_path: Path, rows: tuple[Cell, ...]) -> None:
    path = tmp_path / f"out.{suffix}"
    write_table(rows, path)
    found, wanted = ([cell.row() for cell in cells] for cells in (read_table(path).cells, rows))
    if suffix == "xlsx":  # a workbook keeps 16 digits, and one kind of line end
        assert [row.keys() for row in found] == [row.keys() for row in wanted]
        for one, other in zip(found, wanted, strict=True):
            other["note"] = other.get("note", "").replace("\r\n", "\n")
            one["note"] = one.get("note", "")
            assert one == {k: pytest.approx(v, rel=1e-15) if isinstance(v, float) else v for k, v in other.items()}
    else:
        assert found == wanted


def test_written_files_are_plain_and_hold_only_columns_with_values(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_table([CELL], path)
    assert path.read_text().splitlines()[0] == HEADER
    write_table([CELL.model_copy(update={"note": "5 µm"})], path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_table(path).notes == ()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    assert_says(refusal(lambda: write_table([CELL], tmp_path / "out.xls")), "out.xls", ".csv")
    assert_says(refusal(lambda: write_table([CELL], tmp_path / "no" / "out.csv")), "No such file", "another folder")
    bell = CELL.model_copy(update={"note": "a\x07"})
    assert_says(refusal(lambda: write_table([bell], tmp_path / "out.csv")), "control character", "Take it out")
    assert not (tmp_path / "out.csv").exists()


# --- anything at all


def only_user_errors(content: bytes, source: str) -> None:
    try:
        table = read_bytes(content, source, CONDITION)
    except UserError:
        return
    assert table.cells


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.tsv", "a.xlsx"]))
@example(b"sep=;\n", "a.csv")
@example(b'"', "a.csv")
@example(b"cell_id\n\xa0\n", "a.csv")
@settings(max_examples=200, deadline=None)
def test_random_bytes_raise_only_user_errors(content: bytes, source: str) -> None:
    only_user_errors(content, source)


LONG = ",".join([*COLUMNS, "extra"]).encode() + b"\na1,Zn||Ti,1 M,300,1,1,A/g,ended,fade,5,6,.9,reservoir,.9,10" + b"\n"
BITS = st.sampled_from(
    [b",", b";", b"\t", b'"', b"\n", b"\r", b"#", b"#N/A", b"||", b"\x00", b"\xff\xfe", b"\xb0\xa1", b"9" * 400]
)
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5), BITS | st.binary(max_size=3)), max_size=6)


@given(EDITS, st.sampled_from([FULL.encode(), LONG, SHORT.replace(",", ";").encode(), SHORT.encode("utf-16")]))
@settings(max_examples=300, deadline=None)
def test_damaged_tables_raise_only_user_errors(edits: list[tuple[int, int, bytes]], content: bytes) -> None:
    for start, length, put in edits:
        content = content[:start] + put + content[start + length :]
    only_user_errors(content, "a.csv")


BOOK = workbook(TABLE)


@given(st.lists(st.tuples(st.integers(0, len(BOOK) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_damaged_workbooks_raise_only_user_errors(edits: list[tuple[int, int]]) -> None:
    content = bytearray(BOOK)
    for place, byte in edits:
        content[place] = byte
    only_user_errors(bytes(content), "a.xlsx")


@given(st.sampled_from(["300", "n", "", "-1", "1,5", "1e999", "#N/A", "9" * 400, "١٢", "²"]), st.sampled_from(COLUMNS))
@settings(max_examples=100, deadline=None)
def test_any_value_in_any_column_raises_only_user_errors(value: str, column: str) -> None:
    row = {"cell_id": "a1", "pressure_kpa": "3", "status": "ended", column: f'"{value}"'}
    only_user_errors("\n".join([",".join(row), ",".join(row.values())]).encode(), "a.csv")


def test_table_errors_keep_their_problems() -> None:
    with pytest.raises(TableError) as caught:
        short(SHORT.replace("300", "-3"))
    problem = caught.value.problems[0]
    assert (caught.value.source, problem.row, problem.column) == ("cells.csv", "row 2", "pressure_kpa")
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes back from another process
    assert (str(again), again.problems) == (str(caught.value), caught.value.problems)
