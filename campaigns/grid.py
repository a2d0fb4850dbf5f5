"""From a file to a grid of values: encodings, separators, workbooks, and everything that is refused unread.

A grid is a header and rows as they stand in the file, with the row numbers that a spreadsheet shows; `campaigns.tables`
makes cells of it. Every refusal is one `UserError` that says where, what was expected, what was found and what to do.
"""

from __future__ import annotations

import csv
import io
import re
import stat
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path, PurePath
from typing import Any

from campaigns.units import fold
from surrogates.cells import REQUIRED
from surrogates.errors import UserError

MAX_BYTES = 50_000_000
MAX_UNPACKED_BYTES = 200_000_000
MAX_SHEET_ROWS = 1_048_576
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")

ENCODING_NOTES: Mapping[str, tuple[str, ...]] = {
    "utf-8-sig": (),
    "utf-16": ("read as UTF-16 text",),
    "gb18030": ("read as GB18030 (Chinese) text; save as CSV UTF-8 to be certain",),
    "cp1252": ("read as Latin-1 (Windows-1252) text; save as CSV UTF-8 to be certain",),
    "latin-1": ("read as Latin-1 text; save as CSV UTF-8 to be certain",),
}
ERRORS = ("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!")
EXCEL_REMEDY = "Open it in a spreadsheet program and save it as .xlsx or as CSV UTF-8 (.csv)."

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
MERGED = re.compile(rb'<(?:\w+:)?mergeCell [^>]*?ref="([A-Z]+\d+:[A-Z]+(\d+))"')

# A formula that gave an empty text is stored with t="str"; one that was never calculated has no result at all.
UNCALCULATED = re.compile(
    rb'<c r="([A-Z]+(\d+))"(?![^>]*t="str")[^>]*><f(?:/>|[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?</c>'
)

Line = tuple[int, list[Any]]
"""The number of a row as the spreadsheet shows it, and its values without trailing blanks."""


@dataclass(frozen=True)
class Grid:
    """A header and at least one row, not yet understood; `delimiter` is "" for a workbook."""

    header: Line
    rows: tuple[Line, ...]
    delimiter: str
    notes: tuple[str, ...]


def read_grid(content: bytes, source: str) -> Grid:
    """The grid in a file's content; the ending of `source` tells the format."""
    if len(content) > MAX_BYTES:
        raise _too_large(source, "", len(content), MAX_BYTES)
    match _suffix(source):
        case ".xlsx":
            return _from_workbook(content, source)
        case ".parquet":
            return _from_parquet(content, source)
    text, notes = _decoded(content, source)
    return grid_of_text(text, source, notes)


def refusal(source: str, expected: str, found: str, remedy: str) -> UserError:
    """The error for a file that cannot be taken as a whole."""
    return UserError(f"{source}: expected {expected}; found {found}. {remedy}")


def unreadable(source: str, error: Exception) -> UserError:
    """The error for a file that the machine does not give."""
    found = getattr(error, "strerror", None) or str(error)
    return refusal(source, "a file that can be read", found, "Check its name and its permissions.")


def _suffix(source: str) -> str:
    """The ending of a name; raises `UserError` for one that is not read."""
    suffix = PurePath(source).suffix.lower()
    if suffix not in (".xlsx", ".parquet", *TEXT_SUFFIXES):
        found = suffix or "a name without an ending"
        raise refusal(source, ".csv, .tsv, .txt, .xlsx or .parquet", found, EXCEL_REMEDY)
    return suffix


def file_content(path: Path) -> bytes:
    """The bytes of a file of bounded size; raises `UserError` before anything large is read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is not a file"
            raise refusal(str(path), "a file", found, "Name one .csv or .xlsx file.")
        _suffix(str(path))
        if status.st_size > MAX_BYTES:
            raise _too_large(str(path), "", status.st_size, MAX_BYTES)
        return path.read_bytes()
    except UserError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise unreadable(str(path), error) from None


def _too_large(source: str, packed: str, size: int, limit: int) -> UserError:
    found = f"{size / 1e6:,.0f} MB{packed}"
    return refusal(
        source, f"at most {limit / 1e6:,.0f} MB", found, "A table holds one row a cell: leave out cycler data."
    )


def _decoded(content: bytes, source: str) -> tuple[str, tuple[str, ...]]:
    """Text of a file and a note where it is not UTF-8."""
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise refusal(source, "text", "a spreadsheet file or archive", "Name it .xlsx if it is one. " + EXCEL_REMEDY)
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030", "cp1252", "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "gb18030" and not looks_chinese(text):
            continue
        return text, ENCODING_NOTES[encoding]
    raise refusal(source, "text", "damaged UTF-16", EXCEL_REMEDY)


def looks_chinese(text: str) -> bool:
    """Whether most non-ASCII characters are everyday Chinese: Latin-1 bytes decode to rare ones or to none."""
    foreign = [letter.encode("gb18030") for letter in text[:1_000_000] if not letter.isascii()]
    common = [pair for pair in foreign if len(pair) == 2 and pair[0] <= 0xD7 and pair[1] >= 0xA1]
    return 2 * len(common) > len(foreign)


def grid_of_text(text: str, source: str, notes: tuple[str, ...] = ()) -> Grid:
    """The grid in text separated by commas, semicolons or tabs, or as its first line declares (`sep=;`)."""
    if found := CONTROL.search(text):
        raise refusal(source, "a text file", f"binary content (character {found[0]!r})", EXCEL_REMEDY)
    lines = list(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    declared = re.fullmatch(r"sep=([,;\t])\s*", lines[0]) if lines else None
    lines = lines[1:] if declared else lines
    start = next((n for n, line in enumerate(lines) if line.strip(' \t\r\n,;"')[:1] not in ("", "#")), len(lines))
    records: list[Line] = []
    try:
        delimiter = declared[1] if declared else max(",;\t", key=lambda mark: _width(lines[start:], mark))
        for record in csv.reader(lines[start:], delimiter=delimiter, strict=True, skipinitialspace=True):
            records.append((start + len(records) + 1, record))
    except csv.Error as error:
        place = f"{source}, row {start + len(records) + 1}"
        raise refusal(place, "fields with paired quotes", str(error), 'Write a quote inside quotes as "".') from None
    return _grid(records, source, delimiter, notes)


def _width(lines: Sequence[str], delimiter: str) -> int:
    return len(next(csv.reader(lines, delimiter=delimiter), []))


def _from_workbook(content: bytes, source: str) -> Grid:
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        locked = "EncryptedPackage".encode("utf-16-le") in content
        found = "a workbook locked with a password" if locked else "an old .xls workbook"
        raise refusal(source, "an open .xlsx workbook", found, f"{'Take the password off. ' * locked}{EXCEL_REMEDY}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise _too_large(source, " unpacked", unpacked, MAX_UNPACKED_BYTES)
        return _first_table(content, source)
    except UserError:
        raise
    except Exception as error:  # openpyxl names no set of errors for what a damaged workbook can hold
        found = f"a damaged file or another kind of file ({type(error).__name__})"
        raise refusal(source, "an .xlsx workbook", found, EXCEL_REMEDY) from error


def _from_parquet(content: bytes, source: str) -> Grid:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size > MAX_UNPACKED_BYTES:
            raise _too_large(source, " unpacked", size, MAX_UNPACKED_BYTES)
        table = file.read()
        columns = [column.to_pylist() for column in table.columns]
    except (arrow.ArrowException, OSError) as error:
        found = f"something else ({' '.join(str(error).split())})"
        raise refusal(source, "a Parquet table", found, "Write it again, or save it as .csv.") from None
    rows = [list(values) for values in zip(*columns, strict=True)]
    return _grid(enumerate([list(table.column_names), *rows], 1), source, "", ())


def _first_table(content: bytes, source: str) -> Grid:
    """The first visible sheet, or the only one with a cell_id."""
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about styles and validation rules, which do not matter here
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        tables = [
            sheet for sheet in sheets if any(fold(str(name)) == "cell_id" for name in _header(_sheet_lines(sheet)))
        ]
        if len(tables) > 1 and tables[0] is not sheets[0]:
            found = ", ".join(sheet.title for sheet in tables)
            raise refusal(source, "one sheet with a cell_id", found, "Move the table to the first sheet.")
        sheet = (tables or sheets)[0]
        others = ", ".join(other.title for other in sheets if other is not sheet)
        grid = _grid(
            _sheet_lines(sheet), source, "", (f"sheet {sheet.title} was read, not {others}",) if others else ()
        )
        _check_stored(content, sheet, grid, source)
    return grid


def _sheet_lines(sheet: Any) -> Iterable[Line]:
    sheet.reset_dimensions()  # the size that a workbook states can be wrong
    for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
        if number > MAX_SHEET_ROWS:
            raise ValueError("more rows than a sheet can have")
        yield number, list(values)


def _check_stored(content: bytes, sheet: Any, grid: Grid, source: str) -> None:
    """Below the header, refuse what looks filled and reads as blank: merged cells, formulas without their result."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read(sheet._worksheet_path)
    if merged := [area.decode() for area, last_row in MERGED.findall(text) if int(last_row) > grid.header[0]]:
        found = f"merged cells {', '.join(merged[:5])}"
        raise refusal(source, "one value in each cell", found, "Unmerge them and fill each cell.")
    if formulas := [place.decode() for place, row in UNCALCULATED.findall(text) if int(row) > grid.header[0]]:
        found = f"formulas without a result in {', '.join(formulas[:5])}"
        raise refusal(
            source, "a value in each cell", found, "Open the file in a spreadsheet program and save it again."
        )


def _filled(lines: Iterable[Line]) -> Iterable[Line]:
    """Rows with values, from the header on, without their trailing blanks."""
    filled = ((number, [_tidy(value) for value in values]) for number, values in lines)
    trimmed = ((number, values[: _length(values)]) for number, values in filled)
    return dropwhile(lambda line: first_value(line[1]).startswith("#"), (line for line in trimmed if line[1]))


def _tidy(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


def _length(values: Sequence[Any]) -> int:
    return next((n for n in range(len(values), 0, -1) if values[n - 1] is not None), 0)


def first_value(values: Sequence[Any]) -> str:
    """The first value that is not blank, as text; `values` holds one."""
    return str(next(value for value in values if value is not None))


def _header(lines: Iterable[Line]) -> list[Any]:
    return next(iter(_filled(lines)), (0, []))[1]


def _grid(lines: Iterable[Line], source: str, delimiter: str, notes: tuple[str, ...]) -> Grid:
    header, *rest = list(_filled(lines)) or [(0, [])]
    rows = tuple(line for line in rest if not _is_comment(line[1]))
    if not rows:
        found = f"only a header in row {header[0]}" if header[0] else "an empty table"
        raise refusal(source, "a header and one row a cell", found, f"The header names {', '.join(REQUIRED)}.")
    notes += tuple(f"row {number} was taken as a comment" for number, values in rest if _is_comment(values))
    return Grid(header, rows, delimiter, notes)


def _is_comment(values: Sequence[Any]) -> bool:
    """Whether a row below the header holds "# ..." alone; a cell_id such as "#12" has other values beside it."""
    alone = sum(value is not None for value in values) == 1
    return alone and first_value(values).startswith("#") and first_value(values) not in ERRORS
