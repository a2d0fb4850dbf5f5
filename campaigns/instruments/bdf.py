"""Battery Data Format, CSV and Parquet: machine-readable names (`voltage_volt`) or labels ("Voltage / V").

Names of the ontology 1.3 and of releases before it ("step_index", "discharging_capacity_ah").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from campaigns.instruments import series
from campaigns.instruments.columns import CLOCK, STEP_TIME, is_complete, raw_channels, resolve
from campaigns.instruments.flat import PARQUET, Sample, Table
from campaigns.instruments.series import refusal
from campaigns.instruments.tabular import Found, TableFormat, settled
from surrogates.errors import UserError

NAMES = {
    series.TIME: ("test_time",),
    STEP_TIME: ("step_time",),
    series.VOLTAGE: ("voltage",),
    series.CURRENT: ("current",),
    series.CYCLE: ("cycle_count", "Cycle Count / 1"),
    series.STEP: ("step_id", "step_index", "step_count", "Step ID", "Step Count / 1", "Step Index / 1"),
    series.STEP_TYPE: ("step_type",),
    series.CHARGED: ("charging_capacity", "step_charging_capacity", "cycle_charging_capacity"),
    series.DISCHARGED: ("discharging_capacity", "step_discharging_capacity", "cycle_discharging_capacity"),
    series.MAGNITUDE: ("step_net_capacity", "step_cumulative_capacity"),
    series.TEMPERATURE: ("ambient_temperature",),
    series.APPLIED: ("applied_pressure",),
    series.SURFACE: ("surface_pressure",),
}


@dataclass(frozen=True)
class _Bdf(TableFormat):
    """CSV as any table; Parquet by its column names, without text in between."""

    def recognises(self, sample: Sample, tables: Sequence[Table]) -> bool:
        """Whether it is Parquet, or a table with names of the Battery Data Format."""
        return sample.head.startswith(PARQUET) or super().recognises(sample, tables)

    def read(self, sample: Sample, tables: Sequence[Table]) -> Found:
        """The columns known to the schema."""
        return _parquet(sample) if sample.head.startswith(PARQUET) else super().read(sample, tables)


def _parquet(sample: Sample) -> Found:
    """Read by pyarrow: polars answers a damaged file with a panic on the terminal."""
    source = str(sample.path)
    try:
        names = pq.read_schema(sample.path).names
        found = resolve(names, {**NAMES, series.UNIX_TIME: ("unix_time_second", "Unix Time / s")})
        if not is_complete(found):
            raise refusal(source, "Parquet in Battery Data Format", f"columns {', '.join(names)[:200]}", "Rename them.")
        places = {name: one.position for name, one in found.items()} | raw_channels(names, found.values())
        table = pq.read_table(sample.path, columns=[names[place] for place in places.values()])
        frame = pl.from_arrow(table)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        words = " ".join(str(error).split())[:160]
        raise refusal(source, "a whole Parquet file", words, "Write or copy it again.") from None
    assert isinstance(frame, pl.DataFrame)
    factors = {name: one.factor for name, one in found.items() if one.factor not in (CLOCK, 1.0)}
    rows = frame.select(pl.col(names[place]).alias(name) for name, place in places.items())
    rows = rows.with_columns(pl.col(name) * factor for name, factor in factors.items())
    return settled(rows, source)


READER = _Bdf(
    name="Battery Data Format",
    names=NAMES,
    marks=("voltage_volt", "current_ampere", "test_time_second", "Voltage / V", "Test Time / s"),
)
