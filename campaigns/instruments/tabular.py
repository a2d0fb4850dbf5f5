"""Formats that are tables: find the header, scan the rows with polars, settle times, counters and step types.

A `TableFormat` is a `Reader` made of declarations; what differs between makers is names, and nothing else.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from campaigns.instruments import series
from campaigns.instruments.columns import (
    CLOCK,
    NET,
    STEP_TIME,
    Names,
    Source,
    is_complete,
    raw_channels,
    resolve,
    split_unit,
)
from campaigns.instruments.flat import SEPARATORS, Sample, Table
from campaigns.instruments.series import MAGNITUDE, refusal, unwound

Found = tuple[pl.DataFrame, tuple[str, ...]]
DATE_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%m/%d/%Y %H:%M:%S%.f",
    "%d/%m/%Y %H:%M:%S%.f",
    "%d.%m.%Y %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%m/%d/%Y %I:%M:%S%.f %p",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M",
)
# The first that fits: "discharge" holds "charge".
STEP_WORDS = (
    (series.DISCHARGE, re.compile(r"d-?ch|dischg|disch|放电|恒流放|^d$", re.IGNORECASE)),
    (series.CHARGE, re.compile(r"chg|charge|充电|恒流充|^c$", re.IGNORECASE)),
    (series.REST, re.compile(r"rest|ocv|pause|静置|搁置|休止|^r$", re.IGNORECASE)),
    (series.END, re.compile(r"\bend\b|finish|complete|结束|停止", re.IGNORECASE)),
)
_CLOCK = r"^\s*(?:(\d+)\s*(?:[dD-]|天|\s)\s*)?(\d+):(\d+):(\d+(?:\.\d+)?)\s*$"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Header:
    """The header of a table: the line it ends in, what stands where, its width and how the numbers are written."""

    line: int
    separator: str
    fields: tuple[str, ...]
    width: int
    decimal_comma: bool
    found: Mapping[str, Source]


@dataclass(frozen=True)
class TableFormat:
    """A `Reader` of tables.

    `names`: quantity -> its names in this format. `marks`: headers (without units, one of them is enough) that only
    this format writes. `prepare`: for layouts that are not one table, a table made of one.
    """

    name: str
    names: Names
    marks: tuple[str, ...] = ()
    prepare: Callable[[Table, Path], Table | None] | None = None

    def recognises(self, sample: Sample, tables: Sequence[Table]) -> bool:
        """Whether a table of the file has voltage, current and time under this format's names, and one of its marks."""
        with tempfile.TemporaryDirectory(prefix="stackpress-") as folder:
            headers = [find_header(table, self.names) for table in self._prepared(tables, Path(folder), head=True)]
        return any(header is not None and self._is_marked(header.fields) for header in headers)

    def read(self, sample: Sample, tables: Sequence[Table]) -> Found:
        """The rows of every table (sheet) that has the columns, one after the other."""
        source = str(sample.path)
        with tempfile.TemporaryDirectory(prefix="stackpress-") as folder:
            prepared = self._prepared(tables, Path(folder))
            headed = [(table, header) for table in prepared if (header := find_header(table, self.names))]
            if not headed:
                raise refusal(source, "a header with voltage, current and time, each with its unit", "none", _REMEDY)
            parts = [_whole(table, scan(table, header, source)) for table, header in headed]
        columns = set(parts[0][0].columns).intersection(*(part.columns for part, _ in parts))
        rows = pl.concat([part.select(name for name in parts[0][0].columns if name in columns) for part, _ in parts])
        frame, notes = settled(rows, source)
        sheets = [table.sheet for table, _ in headed if table.sheet]
        encoding = [f"read as {table.encoding} text" for table in tables if table.encoding != "utf-8"]
        told = [f"sheets {', '.join(sheets)} were read, in this order"] if len(sheets) > 1 else []
        return frame, (*encoding, *told, *(note for _, some in parts for note in some), *notes)

    def _is_marked(self, fields: Sequence[str]) -> bool:
        names = {name.strip().lower() for field in fields for name, _ in split_unit(field)}
        return not self.marks or any(mark.lower() in names for mark in self.marks)

    def _prepared(self, tables: Sequence[Table], folder: Path, head: bool = False) -> list[Table]:
        if self.prepare is None:
            return list(tables)
        return [self.prepare(_headed(table, folder) if head else table, folder) or table for table in tables]


def _whole(table: Table, part: Found) -> Found:
    """Without a last record that may be cut off: it could hold half a number."""
    frame, notes = part
    if not table.is_cut:
        return part
    return frame.head(-1), (*notes, "the file ends within a line: its last record was left out")


_REMEDY = "stackpress map FILE shows the columns and saves what they are."


def _headed(table: Table, folder: Path) -> Table:
    """Only the first lines of a table, as a table: enough to recognise it."""
    path = folder / f"head-{table.path.name}"
    path.write_text("".join(table.lines), encoding="utf-8")
    return Table(path, table.lines, table.encoding, table.sheet)


def find_header(table: Table, names: Names) -> Header | None:
    """The first row that names voltage, current and time, with the separator that finds the most quantities."""
    found = [header for separator in SEPARATORS if (header := _header(table, names, separator))]
    return max(found, key=lambda header: len(header.found), default=None)


def _header(table: Table, names: Names, separator: str) -> Header | None:
    rows = table.rows(separator)
    for place, (line, fields) in enumerate(rows):
        if sum(map(_has_letter, fields)) >= 3 and is_complete(found := resolve(fields, names)):
            below = [row for _, row in rows[place + 1 : place + 6]]
            numbers = [row[source.position] for row in below for source in found.values() if source.position < len(row)]
            comma = separator != "," and any(_DECIMAL_COMMA.fullmatch(number) for number in numbers)
            width = max(len(fields), *(len(row) for row in below), 0) if below else len(fields)
            return Header(line, separator, tuple(fields), width, comma, found)
    return None


def _has_letter(field: str) -> bool:
    return any(letter.isalpha() for letter in field)


def scan(table: Table, header: Header, source: str, more: Mapping[str, int] | None = None) -> Found:
    """The columns of `header.found`, numbers as Float64 in the schema's units, the rest as text.

    Beside them columns by position that are kept as they are: `more`, or else the raw channels.
    """
    raw = raw_channels(header.fields, header.found.values()) if more is None else more
    positions = {**{name: one.position for name, one in header.found.items()}, **raw}
    texts = {name for name, one in header.found.items() if one.kind in ("text", "date") or one.factor == CLOCK}
    numbers = {position for name, position in positions.items() if name not in texts}
    try:
        frame = _scanned(table, header, numbers, positions)
        notes: tuple[str, ...] = ()
    except (pl.exceptions.PolarsError, OSError) as error:
        frame, notes = _scanned_with_care(table, header, positions, texts, f"{source}{_sheet(table)}", error)
    factors = {name: one.factor for name, one in header.found.items() if name not in texts and one.kind != "count"}
    return frame.with_columns(pl.col(name) * factor for name, factor in factors.items() if factor != 1.0), notes


def _scanned(table: Table, header: Header, numbers: set[int], positions: Mapping[str, int]) -> pl.DataFrame:
    schema = {f"c{n}": pl.Float64 if n in numbers else pl.String for n in range(header.width)}
    lines = pl.scan_csv(
        table.path,
        has_header=False,
        skip_lines=header.line,
        separator=header.separator,
        schema=schema,
        encoding="utf8-lossy",
        decimal_comma=header.decimal_comma,
        missing_columns="insert",
    )
    return lines.select(pl.col(f"c{position}").alias(name) for name, position in positions.items()).collect()


def _scanned_with_care(
    table: Table, header: Header, positions: Mapping[str, int], texts: set[str], place: str, error: Exception
) -> Found:
    """The rows read as text, to name the first that is no number; a last line that was cut off is left out."""
    try:
        text = _scanned(table, header, set(), positions)
    except (pl.exceptions.PolarsError, OSError):
        cause = " ".join(str(error).split())[:160]
        raise refusal(place, f"rows of {header.width} fields", cause, "The file is damaged: export it again.") from None
    wanted = [name for name in positions if name not in texts]
    tidy = {name: pl.col(name).str.strip_chars() for name in wanted}
    if header.decimal_comma:
        tidy = {name: one.str.replace(",", ".", literal=True) for name, one in tidy.items()}
    frame = text.with_columns(one.cast(pl.Float64, strict=False).alias(name) for name, one in tidy.items())
    wrong = [
        (int(rows[0]), name)
        for name in wanted
        if len(
            rows := (frame[name].is_null() & text[name].is_not_null() & (text[name].str.strip_chars() != "")).arg_true()
        )
    ]
    if not wrong:
        return frame, ()
    row, name = min(wrong)
    if row == len(frame) - 1:
        return frame.head(row), ("the last line was cut off and left out",)
    where = f"{place}, line {header.line + row + 1}, column {header.fields[positions[name]]}"
    raise refusal(where, "a number", repr(text[name][row][:60]), "Repair the line, or export the file again.")


def _sheet(table: Table) -> str:
    return f", sheet {table.sheet}" if table.sheet else ""


def settled(rows: pl.DataFrame, source: str) -> Found:
    """Times as seconds, counters as ones that only rise, step types as charge, discharge, rest or end."""
    lost: tuple[str, ...] = ()
    if rows[series.VOLTAGE].null_count() and rows[series.CURRENT].null_count():
        kept = rows.filter(pl.any_horizontal(pl.col(n).is_not_null() for n in (series.VOLTAGE, series.CURRENT)))
        lost, rows = (f"{len(rows) - len(kept)} rows without voltage and current were left out",), kept
    if rows.is_empty():
        raise refusal(source, "records", "a header and no record", "The test was not started: export it again.")
    frame, notes = _timed(_clocks(rows), source)
    notes = (*lost, *notes)
    frame = frame.with_columns(unwound(name).alias(name) for name in _COUNTERS if name in frame.columns)
    if NET in frame.columns and not set(_COUNTERS) & set(frame.columns) and MAGNITUDE not in frame.columns:
        rise = pl.col(NET).diff().fill_null(0.0)
        parts = {series.CHARGED: rise, series.DISCHARGED: -rise}
        frame = frame.with_columns(part.clip(lower_bound=0.0).cum_sum().alias(name) for name, part in parts.items())
    if all(name in frame.columns for name in _COUNTERS):
        frame = frame.drop(MAGNITUDE, strict=False)
    return _step_types(frame).drop(NET, STEP_TIME, strict=False), notes


_COUNTERS = (series.CHARGED, series.DISCHARGED)


def _clocks(rows: pl.DataFrame) -> pl.DataFrame:
    """Times written as [d-]hh:mm:ss[.fff] as seconds."""
    clocks = [name for name in (series.TIME, STEP_TIME) if name in rows.columns and rows[name].dtype == pl.String]
    parts = {
        name: [pl.col(name).str.extract(_CLOCK, group).cast(pl.Float64) for group in (1, 2, 3, 4)] for name in clocks
    }
    return rows.with_columns(
        (days.fill_null(0.0) * 86400 + hours * 3600 + minutes * 60 + seconds).alias(name)
        for name, (days, hours, minutes, seconds) in parts.items()
    )


def _timed(frame: pl.DataFrame, source: str) -> Found:
    """Test time from the file, else from its step times, else from its wall clock."""
    notes: list[str] = []
    if series.UNIX_TIME in frame.columns:
        moments = _moments(frame[series.UNIX_TIME])
        if moments is None:
            notes.append(f"dates such as {frame[series.UNIX_TIME][0]!r} were not understood, and not used")
            frame = frame.drop(series.UNIX_TIME)
        else:
            frame = frame.with_columns(moments.alias(series.UNIX_TIME))
    if series.TIME in frame.columns and frame[series.TIME].null_count() < len(frame):
        return frame, tuple(notes)
    if STEP_TIME in frame.columns:
        notes.append("test time was added up from the step times")
        return frame.with_columns(unwound(STEP_TIME).alias(series.TIME)), tuple(notes)
    if series.UNIX_TIME in frame.columns:
        notes.append("test time was taken from the wall clock")
        return frame.with_columns(pl.col(series.UNIX_TIME).alias(series.TIME)), tuple(notes)
    raise refusal(source, "a test time, step time or date in every record", "none that is understood", _REMEDY)


def settled_time(rows: pl.DataFrame) -> pl.DataFrame:
    """The times of a log that is no test: clocks as seconds, dates as seconds since 1970."""
    frame = _clocks(rows)
    if series.UNIX_TIME not in frame.columns:
        return frame
    moments = _moments(frame[series.UNIX_TIME])
    return frame.drop(series.UNIX_TIME) if moments is None else frame.with_columns(moments.alias(series.UNIX_TIME))


def _moments(dates: pl.Series) -> pl.Series | None:
    """Dates as seconds since 1970 by the instrument's clock; the first format under which they never go back."""
    if dates.dtype != pl.String:
        return dates
    first = dates.drop_nulls().head(1).str.strip_chars()
    text = dates if first.equals(dates.drop_nulls().head(1)) else dates.str.strip_chars()  # of millions it takes long
    for style in DATE_FORMATS:
        if first.str.to_datetime(style, strict=False).null_count() or first.is_empty():
            continue
        moments = text.str.to_datetime(style, strict=False, time_unit="us").dt.timestamp("us").cast(pl.Float64) / 1e6
        if moments.null_count() <= text.null_count() and bool((moments.diff().drop_nulls() >= 0).all()):
            return moments
    return None


def _step_types(frame: pl.DataFrame) -> pl.DataFrame:
    if series.STEP_TYPE not in frame.columns:
        return frame
    kinds = {word: step_type(word) for word in frame[series.STEP_TYPE].unique().drop_nulls().to_list()}
    if not any(kinds.values()):
        return frame.drop(series.STEP_TYPE)
    kind = pl.col(series.STEP_TYPE).replace_strict(kinds, default=None, return_dtype=pl.String)
    return frame.with_columns(kind.alias(series.STEP_TYPE))


def step_type(word: str) -> str | None:
    """charge, discharge, rest or end, from what an instrument calls a step in English or Chinese; None if neither."""
    return next((kind for kind, pattern in STEP_WORDS if pattern.search(word)), None)
