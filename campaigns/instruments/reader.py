"""What a reader is, and `read`: the one way from a file to a `Series`.

A new instrument is one file with a `Reader` (most are a `TableFormat`: names of columns, and the marks by which its
exports are known) and one line in `READERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from campaigns.instruments import arbin, bdf, biologic, biologic_binary, landt, neware, neware_binary, plain
from campaigns.instruments.flat import OLE, Sample, Table, opened
from campaigns.instruments.pattern import looks_like_one
from campaigns.instruments.series import Series, check, joined, refusal

Found = tuple[pl.DataFrame, tuple[str, ...]]
"""Columns of the schema as a file gives them, before `series.check`, and what the user should know of the reading."""


class Reader(Protocol):
    """A format: whether a file is of it, by content and not by name; and its time series."""

    @property
    def name(self) -> str:
        """What the format is called in `Series.format`."""
        ...

    def recognises(self, sample: Sample, tables: Sequence[Table]) -> bool:
        """Whether `read` can be expected to work."""
        ...

    def read(self, sample: Sample, tables: Sequence[Table]) -> Found:
        """The test in the file; raises `UserError` where the content is damaged."""
        ...


# Formats that only one maker writes come first; "plain" takes any table whose headers name quantity and unit.
READERS: tuple[Reader, ...] = (
    neware_binary.READER,
    biologic_binary.READER,
    biologic.READER,
    bdf.READER,
    arbin.READER,
    landt.READER,
    neware.READER,
    plain.READER,
)
REMEDY = "Export the test as CSV or XLSX with a header that names quantities and units, or: stackpress map FILE"


def read(path: Path | str, reader: Reader | None = None) -> Series:
    """The test in one file; `reader` where its format is known. Raises `UserError` with one message."""
    path = Path(path)
    with opened(path) as (sample, tables):
        chosen = reader or next((one for one in READERS if one.recognises(sample, tables)), None)
        if chosen is None:
            known = ", ".join(one.name for one in READERS)
            raise refusal(str(path), f"one of {known}", _content(sample, tables), REMEDY)
        frame, notes = chosen.read(sample, tables)
        frame, told = check(frame, str(path))
        return Series(frame, chosen.name, str(path), sample.digest, (*notes, *told))


def recognised(path: Path) -> str | None:
    """The name of the format of a file, None where no reader knows it."""
    with opened(path) as (sample, tables):
        return next((one.name for one in READERS if one.recognises(sample, tables)), None)


def read_joined(paths: Sequence[Path | str], reader: Reader | None = None) -> Series:
    """One test that was written to one file or several."""
    return joined([read(path, reader) for path in paths])


def _content(sample: Sample, tables: Sequence[Table]) -> str:
    """What an unknown file seems to be, in a few words."""
    if sample.head.startswith(OLE):
        return "an old .xls workbook, or one locked with a password"
    lines = [line.strip() for table in tables for line in table.lines[:3] if line.strip()]
    if not lines:
        return "another kind of file"
    pattern = (
        f". A diffraction pattern? stackpress xrd {sample.path} --wavelength 1.5406"
        if looks_like_one(sample.path)
        else ""
    )
    return f"text that begins {lines[0][:80]!r}{pattern}"
