"""BioLogic .mpr, read by galvani where the user has installed it; never imported otherwise.

galvani is under the GPL-3.0-or-later, so it is no requirement of stackpress: whoever installs the extra `biologic` chooses
that licence. Columns have the names of the text export, so they are read by its declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from campaigns.instruments import biologic, series
from campaigns.instruments.columns import resolve
from campaigns.instruments.flat import MPR, Sample, Table
from campaigns.instruments.series import refusal
from campaigns.instruments.tabular import Found, settled

TEXT = "export it as text (.mpt) from EC-Lab"
PASSED = "dq/mA.h"  # charge between a record and the one before


@dataclass(frozen=True)
class BiologicBinary:
    """A `Reader` of .mpr."""

    name: str = "BioLogic binary"

    def recognises(self, sample: Sample, tables: Sequence[Table]) -> bool:
        """Whether it begins as .mpr does."""
        return sample.head.startswith(MPR)

    def read(self, sample: Sample, tables: Sequence[Table]) -> Found:
        """The records; without a column of current, that which the charge between records gives, as EC-Lab's <I>."""
        records = _records(sample.path)
        header = list(records.dtype.names)
        found = resolve(header, biologic.READER.names)
        columns = {
            name: records[one.header].astype(float) * one.factor for name, one in found.items() if one.kind != "count"
        }
        columns |= {name: records[one.header].astype(int) for name, one in found.items() if one.kind == "count"}
        frame = pl.DataFrame(columns)
        notes: tuple[str, ...] = ()
        if series.CURRENT not in frame.columns and PASSED in header and series.TIME in frame.columns:
            hours = pl.col(series.TIME).diff() / 3600
            passed = pl.Series(records[PASSED].astype(float) / 1000)
            current = pl.when(hours > 0).then(passed / hours).otherwise(None).backward_fill().fill_null(0.0)
            frame = frame.with_columns(current.alias(series.CURRENT))
            notes = ("the file has no current: it was taken from the charge between the records",)
        if missing := [name for name in series.REQUIRED if name not in frame.columns]:
            raise refusal(str(sample.path), ", ".join(missing), f"columns {', '.join(header)}", f"Or {TEXT}.")
        rows, told = settled(frame, str(sample.path))
        return rows, (*notes, *told)


def _records(path: Path) -> Any:
    """The records as a structured array; whatever galvani fails with is a damaged or newer file."""
    try:
        from galvani import BioLogic
    except ImportError:
        raise refusal(
            str(path),
            "a file that can be read without further software",
            "a binary BioLogic file (.mpr)",
            f"Please {TEXT}. Or install a reader: pip install 'stackpress[biologic]' brings galvani, which is under the "
            "GPL-3.0-or-later; choosing it is up to you.",
        ) from None
    try:
        with path.open("rb") as stream:  # given a name, galvani leaves the file open
            return BioLogic.MPRfile(stream).data
    except Exception as error:  # galvani names no set of errors
        found = f"one that galvani cannot read ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise refusal(str(path), "a whole .mpr file", found, f"Copy it again, or {TEXT}.") from error


READER = BiologicBinary()
