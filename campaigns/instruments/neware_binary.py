"""Neware .nda and .ndax, read by fastnda (BSD-3-Clause); auxiliary channels are kept as they come.

fastnda maps channels whose meaning its authors doubt (clamp_weight_kg, pressure_bar, force_N): they stay `raw_...`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from campaigns.instruments import series
from campaigns.instruments.columns import raw_name
from campaigns.instruments.flat import NEWARE, Sample, Table
from campaigns.instruments.series import refusal
from campaigns.instruments.tabular import Found, step_type

REMEDY = "Open it in BTSDA and export it again, or as XLSX."
COLUMNS = {
    "total_time_s": (series.TIME, 1.0),
    "voltage_V": (series.VOLTAGE, 1.0),
    "current_mA": (series.CURRENT, 1e-3),
    "unix_time_s": (series.UNIX_TIME, 1.0),
    "cycle_count": (series.CYCLE, 1),
    "step_index": (series.STEP, 1),
    "capacity_mAh": (series.MAGNITUDE, 1e-3),
}


@dataclass(frozen=True)
class NewareBinary:
    """A `Reader` of both binary formats."""

    name: str = "Neware binary"

    def recognises(self, sample: Sample, tables: Sequence[Table]) -> bool:
        """Whether it begins as .nda does, or is an archive with Neware's records."""
        return sample.head.startswith(NEWARE) or "data.ndc" in sample.members

    def read(self, sample: Sample, tables: Sequence[Table]) -> Found:
        """The records with the cycle numbers of the file, not counted anew."""
        frame, notes = _fastnda(sample)
        if frame.is_empty():
            raise refusal(str(sample.path), "records", "none", "The test was not started, or the export is empty.")
        named = [
            (pl.col(old).cast(pl.Float64) * factor).alias(new)
            for old, (new, factor) in COLUMNS.items()
            if old in frame.columns
        ]
        kinds = {word: step_type(word) for word in frame["step_type"].cast(pl.String).unique().drop_nulls().to_list()}
        kind = pl.col("step_type").cast(pl.String).replace_strict(kinds, default=None, return_dtype=pl.String)
        raw = [pl.col(name).alias(raw_name(name)) for name in frame.columns if name.startswith("aux")]
        return frame.select(*named, kind.alias(series.STEP_TYPE), *raw), notes


def _fastnda(sample: Sample) -> Found:
    """fastnda's frame, with what it warns of as notes; whatever it fails with is a damaged file."""
    import fastnda

    suffix = ".nda" if sample.head.startswith(NEWARE) else ".ndax"
    heard = _Heard()
    logger = logging.getLogger("fastnda")
    was, logger.propagate = logger.propagate, False
    logger.addHandler(heard)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="stackpress-") as folder,
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            path = sample.path
            if path.suffix.lower() != suffix:  # it goes by the ending, which may have been changed
                path = Path(shutil.copyfile(path, Path(folder) / f"test{suffix}"))
            frame = fastnda.read(path, cycle_mode="raw")
    except (Exception, pl.exceptions.PanicException) as error:
        found = f"a damaged one ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise refusal(str(sample.path), f"a whole Neware {suffix} file", found, REMEDY) from error
    finally:
        logger.removeHandler(heard)
        logger.propagate = was
    return frame, tuple(f"fastnda: {text}" for text in (*heard.messages, *(str(one.message) for one in caught)))


class _Heard(logging.Handler):
    """Collects warnings that fastnda logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, without its traceback."""
        self.messages.append(record.getMessage())


READER = NewareBinary()
