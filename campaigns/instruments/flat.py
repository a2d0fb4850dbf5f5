"""From a file to UTF-8 rows on disk that polars can scan: encodings, workbooks, archives that are not what they claim.

Nothing is read whole into memory, nothing in a file is run. `Table` is a stretch of text with one header; `opened`
gives the tables of a file, those of a workbook sheet by sheet.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import hashlib
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from campaigns.grid import looks_chinese, unreadable
from campaigns.instruments.series import refusal
from surrogates.errors import UserError

HEAD_BYTES, HEAD_LINES = 65_536, 400  # where a header is looked for; BioLogic writes up to some 150 lines before it
MAX_UNPACKED_BYTES, MAX_MEMBERS = 1_000_000_000, 10_000
SEPARATORS = "\t,;"
ZIP, OLE, NEWARE, PARQUET, MPR = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"NEWARE", b"PAR1", b"BIO-LOGIC"
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True)
class Table:
    """A table in a text file on disk: `lines` are its first lines, `encoding` that of the file, `sheet` its sheet.

    `is_cut`: the file does not end with a line's end, so its last record may be part of one.
    """

    path: Path
    lines: tuple[str, ...]
    encoding: str = "utf-8"
    sheet: str = ""
    is_cut: bool = False

    def rows(self, separator: str) -> list[tuple[int, list[str]]]:
        """The first lines as rows of stripped fields, each with the number of the line it ends in."""
        reader = csv.reader(self.lines, delimiter=separator)
        try:
            return [(reader.line_num, [field.strip() for field in row]) for row in reader]
        except csv.Error:
            plain = [[field.strip(' "') for field in line.rstrip("\r\n").split(separator)] for line in self.lines]
            return list(enumerate(plain, 1))


@dataclass(frozen=True)
class Sample:
    """A file looked at, not read: its first bytes, the members of an archive, and the tables it may hold."""

    path: Path
    head: bytes
    members: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def is_workbook(self) -> bool:
        """Whether it is an .xlsx, by its content."""
        return "xl/workbook.xml" in self.members

    @property
    def is_text(self) -> bool:
        """Whether it may be text."""
        return not self.head.startswith((ZIP, OLE, NEWARE, PARQUET, MPR))


@contextmanager
def opened(path: Path) -> Iterator[tuple[Sample, tuple[Table, ...]]]:
    """A file and its tables; text that is not UTF-8 and workbooks are written to a temporary folder first.

    Raises `UserError` where the file cannot be read, is empty, or is an archive with tricks.
    """
    sample = looked_at(path)
    with tempfile.TemporaryDirectory(prefix="stackpress-") as folder:
        if sample.is_workbook:
            yield sample, _sheets(sample, Path(folder))
        elif sample.is_text:
            yield sample, (_text(sample, Path(folder)),)
        else:
            yield sample, ()


def looked_at(path: Path) -> Sample:
    """The first bytes of a file, and the names in an archive once it is known to be harmless."""
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise refusal(str(path), "an instrument's file", found, "Check the name.")
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise unreadable(str(path), error) from None
    if not head.strip(b"\x00 \r\n\t"):
        raise refusal(str(path), "an instrument's file", "an empty one", "Export it again.")
    return Sample(path, head, _members(path) if head.startswith(ZIP) else ())


def _members(path: Path) -> tuple[str, ...]:
    """Names in an archive; raises `UserError` for bombs, paths that leave the folder, links and passwords."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise refusal(str(path), "a whole .ndax or .xlsx file", f"a damaged one ({error})", "Copy it again.") from None
    unpacked = sum(part.file_size for part in parts)
    tricks = [
        ("", unpacked > MAX_UNPACKED_BYTES, f"{unpacked / 1e6:,.0f} MB once unpacked"),
        ("", len(parts) > MAX_MEMBERS, f"{len(parts)} files inside"),
    ]
    for part in parts:
        outside = (
            part.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", part.filename) or ":" in part.filename
        )
        link = (part.external_attr >> 16) & 0o170000 == 0o120000
        tricks += [
            (part.filename, outside, "a path that leaves the archive"),
            (part.filename, link, "a link"),
            (part.filename, bool(part.flag_bits & 1), "a password"),
        ]
    for name, is_trick, found in tricks:
        if is_trick:
            place = f"{path}, {name!r}" if name else str(path)
            raise refusal(place, "an instrument's archive", found, "This file was not read; export the test again.")
    return tuple(part.filename for part in parts)


def _text(sample: Sample, folder: Path) -> Table:
    encoding = _encoding(sample)
    path = sample.path
    if encoding != "utf-8":
        path = folder / "text.csv"
        with (
            sample.path.open(encoding=encoding, errors="replace", newline="") as old,
            path.open("w", encoding="utf-8", newline="") as new,
        ):
            shutil.copyfileobj(old, new, 1 << 20)
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        text = stream.read(HEAD_BYTES)
    lines = tuple(text.removeprefix("\ufeff").splitlines(keepends=True)[:HEAD_LINES])
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return Table(path, lines, encoding, is_cut=stream.read(1) not in b"\r\n")


def _encoding(sample: Sample) -> str:
    if sample.head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-8", "gb18030", "cp1252", "latin-1"):
        try:
            # A head may end within a letter: an incremental decoder waits for the rest.
            text = codecs.getincrementaldecoder(encoding)().decode(sample.head)
        except UnicodeDecodeError:
            continue
        if encoding == "gb18030" and not looks_chinese(text):
            continue
        if found := _BINARY.search(text):
            raise refusal(
                str(sample.path),
                "text or a known instrument's file",
                f"binary content (character {found[0]!r})",
                "Export the test as CSV or XLSX from the instrument's software.",
            )
        return encoding
    return "latin-1"


def _sheets(sample: Sample, folder: Path) -> tuple[Table, ...]:
    """Every visible sheet of a workbook as a CSV of its own."""
    import openpyxl

    try:
        with warnings.catch_warnings(), sample.path.open("rb") as stream:
            warnings.simplefilter("ignore")  # about styles and validation rules, which do not matter here
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
            return tuple(_sheet(sheet, folder / f"{number}.csv") for number, sheet in enumerate(visible))
    except Exception as error:  # openpyxl names no set of errors for what a damaged workbook can hold
        found = f"a damaged one ({type(error).__name__})"
        raise refusal(str(sample.path), "a whole .xlsx workbook", found, "Save it again, or export CSV.") from error


def _sheet(sheet: Any, path: Path) -> Table:
    sheet.reset_dimensions()  # the size that a workbook states can be wrong
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        for row in sheet.iter_rows(values_only=True):
            writer.writerow([_field(value) for value in row])
    with path.open(encoding="utf-8", newline="") as stream:
        lines = tuple(line for _, line in zip(range(HEAD_LINES), stream, strict=False))
    return Table(path, lines, sheet=sheet.title)


def _field(value: Any) -> Any:
    """A cell of a sheet as text: a duration as hh:mm:ss, a moment as an instrument writes it."""
    if isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d}:{seconds % 60:06.3f}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return value if value is None or not isinstance(value, str) else value.strip()


def rewritten(
    table: Table, folder: Path, rows: Callable[[Iterator[list[str]]], Iterator[list[str]]], separator: str
) -> Table:
    """`table` with its rows passed through `rows`, for layouts that are not one table; written to `folder`."""
    path = folder / f"rewritten-{table.path.stem}.csv"
    with (
        table.path.open(encoding="utf-8-sig", errors="replace", newline="") as old,
        path.open("w", encoding="utf-8", newline="") as new,
    ):
        csv.writer(new).writerows(rows(csv.reader(old, delimiter=separator)))
    with path.open(encoding="utf-8", newline="") as stream:
        lines = tuple(line for _, line in zip(range(HEAD_LINES), stream, strict=False))
    return Table(path, lines, sheet=table.sheet, is_cut=table.is_cut)
