"""Stacking pressure as measured: channels of the instrument's file, or a sensor's own log joined by time.

A channel is shown as it is. It becomes kPa only by the user's word: which channel it is, and for a force or a weight
the electrode's diameter (discs of 12 and 16 mm differ 1.78 times in pressure at one force, domain E5).
Standard values: 1 kgf = 9.80665 N; 1 psi = 6.894757 kPa.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from campaigns.instruments import series
from campaigns.instruments.columns import UNITS, resolve, split_unit
from campaigns.instruments.flat import SEPARATORS, opened
from campaigns.instruments.series import RAW, SURFACE, TIME, UNIX_TIME, Series, refusal
from campaigns.instruments.tabular import Header, scan, settled_time
from surrogates.errors import UserError

DRIFT = 0.1  # of the initial pressure: a larger change is told
NEWTON = {"n": 1.0, "newton": 1.0, "kn": 1000.0, "kg": 9.80665, "kgf": 9.80665}
LOG_NAMES = {
    series.TIME: ("time", "test time", "t", "elapsed time", "时间"),
    series.UNIX_TIME: ("date", "datetime", "date time", "timestamp", "日期"),
}


@dataclass(frozen=True)
class Channel:
    """A channel as the file gives it: its name, its unit by that name ("" unknown), first, mean, least, largest value."""

    name: str
    unit: str
    first: float
    mean: float
    least: float
    largest: float

    @property
    def is_dead(self) -> bool:
        """Whether it is zero throughout: no sensor was connected."""
        return self.least == self.largest == 0.0


@dataclass(frozen=True)
class Pressure:
    """Pressure over a test (kPa): at its start, mean, least, largest; where it comes from; a warning if it drifts."""

    initial_kpa: float
    mean_kpa: float
    least_kpa: float
    largest_kpa: float
    source: str
    warning: str = ""


def channels(test: Series) -> tuple[Channel, ...]:
    """Every channel that may be a pressure, a force or a weight, as it is in the file."""
    names = [series.APPLIED, SURFACE, *(name for name in test.frame.columns if name.startswith(RAW))]
    found = []
    for name in names:
        unit = unit_of(name)
        if name in test.frame.columns and unit:
            column = test.frame[name].cast(pl.Float64, strict=False).drop_nulls()
            if len(column):
                values = (float(column[0]), float(column.mean()), float(column.min()), float(column.max()))  # type: ignore[arg-type]
                found.append(Channel(name, unit, *values))
    return tuple(found)


def unit_of(channel: str) -> str:
    """The unit at the end of a channel's name (raw_pressure_psi: psi), "" where it is none of pressure or force."""
    units = {unit for _, unit in split_unit(channel)}
    return next((unit for unit in units if unit in UNITS["pressure"] or unit in NEWTON), "")


def measured(test: Series, channel: str, electrode_mm: float | None = None) -> Pressure:
    """What `channel` says in kPa; `electrode_mm`: diameter of the electrode, asked for where it is a force.

    Raises `UserError` for an unknown channel, one without a sensor, or a force without an area.
    """
    known = {one.name: one for one in channels(test)}
    found = known.get(channel) or known.get(RAW + channel)
    if found is None:
        have = ", ".join(known) or "no channel of pressure or force"
        raise UserError(f"pressure channel: expected one of the file's; found {channel!r}. It has {have}.")
    if found.is_dead:
        raise UserError(f"pressure channel {found.name}: expected a sensor's values; found zero throughout.")
    factor = kpa_per(found.unit, electrode_mm, found.name)
    return _over_time(test.frame[found.name].cast(pl.Float64) * factor, f"{found.name} ({found.unit})")


def kpa_per(unit: str, electrode_mm: float | None, name: str) -> float:
    """kPa for one `unit`: force over the area of a disc of diameter `electrode_mm`, 1 N mm-2 = 1000 kPa."""
    if unit in UNITS["pressure"]:
        return UNITS["pressure"][unit] / 1000
    if electrode_mm is None or electrode_mm <= 0:
        raise UserError(
            f"pressure channel {name}: expected the electrode's diameter in mm, to turn {unit} into kPa; found none. "
            "12 and 16 mm discs differ 1.78 times."
        )
    return NEWTON[unit] / (math.pi * (electrode_mm / 2) ** 2) * 1000


def _over_time(kpa: pl.Series, source: str) -> Pressure:
    values = kpa.drop_nulls()
    initial, mean = float(values[0]), float(values.mean())  # type: ignore[arg-type]
    least, largest = float(values.min()), float(values.max())  # type: ignore[arg-type]
    change = max(abs(largest - initial), abs(least - initial))
    warning = ""
    if change > DRIFT * abs(initial):
        warning = f"pressure drifts from {initial:.4g} kPa to between {least:.4g} and {largest:.4g} kPa during the test"
    return Pressure(initial, mean, least, largest, source, warning)


def with_log(test: Series, path: Path, electrode_mm: float | None = None) -> Series:
    """`test` with a sensor's log joined as `surface_pressure_pa`: each record takes the log's value nearest in time.

    The log is a CSV with a time (s, h ... from the start of the test) or a date, and one column of pressure or force
    with its unit. Dates are joined by the wall clock, times by test time. Raises `UserError` where they don't overlap.
    """
    log, unit, header = _read_log(path)
    key = UNIX_TIME if UNIX_TIME in log.columns and UNIX_TIME in test.frame.columns else TIME
    if key not in log.columns:
        raise refusal(str(path), "a time in s or h from the start of the test", "dates, and a test without", "Add it.")
    log = log.select(pl.col(key), (pl.col("value") * kpa_per(unit, electrode_mm, header) * 1000).alias(SURFACE)).sort(
        key
    )
    ends = test.frame[key][0], test.frame[key][-1]
    if log[key][-1] < ends[0] or log[key][0] > ends[1]:
        raise refusal(str(path), "a log of the time of the test", "one of another time", "Check both clocks.")
    longest = float(log[key].diff().max() or 60.0) * 2  # type: ignore[arg-type]
    frame = test.frame.drop(SURFACE, strict=False).with_row_index("row").sort(key)
    frame = frame.join_asof(log, on=key, strategy="nearest", tolerance=longest).sort("row").drop("row")
    return Series(frame, test.format, test.source, test.digest, (*test.notes, f"pressure from {path}, column {header}"))


def _read_log(path: Path) -> tuple[pl.DataFrame, str, str]:
    with opened(path) as (_, tables):
        for table in tables:
            for separator in SEPARATORS:
                for line, fields in table.rows(separator):
                    found = resolve(fields, LOG_NAMES)
                    values = [(n, text, unit) for n, text in enumerate(fields) if (unit := unit_of(text))]
                    if not found or not values:
                        continue
                    position, text, unit = values[0]
                    header = Header(line, separator, tuple(fields), len(fields), False, found)
                    rows, _ = scan(table, header, str(path), {"value": position})
                    return settled_time(rows), unit, text
    expected = "a header with a time or date and a pressure or force with its unit, such as time_h,pressure_kpa"
    raise refusal(str(path), expected, "none", "Name the columns with their units.")
