"""All that a test says, in one go: `measure` reads the metrics that the user's words allow, `Measurement.row` a row.

What cannot be known from the file is asked for in `Words`, and never guessed: the kind of cell, formation, the
reference cycle, mass and area, and whether the test is over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

import polars as pl

from campaigns.instruments import efficiency
from campaigns.instruments.cycles import KINDS, Kind, Plating, cycles, half_cycles
from campaigns.instruments.efficiency import Metric
from campaigns.instruments.life import Life, Limits, judge
from campaigns.instruments.overpotential import Nucleation, nucleation
from campaigns.instruments.pressure import Channel, Pressure, channels, measured
from campaigns.instruments.series import SURFACE, TIME, VOLTAGE, Series
from surrogates.cells import Status
from surrogates.errors import UserError


@dataclass(frozen=True)
class Words:
    """What the user says of a test.

    `formation`: cycles left out of the mean CE. `reference_cycle`: retention and capacity count from it. `status`,
    `end_reason`: overrule what the data say. `channel`: the pressure channel to believe. Lengths in mm, mass in mg.
    """

    kind: Kind | None = None
    plating: Plating = "first"
    formation: int = 0
    reference_cycle: int = 1
    retention_cycles: int | None = None
    end_of_life: float | None = None
    reservoir: bool = False
    active_mass_mg: float | None = None
    electrode_mm: float | None = None
    channel: str | None = None
    status: Status | None = None
    end_reason: str | None = None
    limits: Limits = field(default_factory=Limits)

    def checked(self) -> Words:
        """Itself; raises `UserError` for words that mean nothing."""
        if self.kind is None:
            raise UserError(
                f"kind: expected {', '.join(KINDS)}, what the cell is; found nothing. It is never guessed: in a "
                "plating cell CE is stripped / plated, in a full cell discharge / charge."
            )
        if self.status is not None and self.status not in get_args(Status):
            raise UserError(f"status: expected {', '.join(get_args(Status))}; found {self.status!r}.")
        if self.formation < 0:
            raise UserError(f"formation: expected a number of cycles, 0 or more; found {self.formation}.")
        return self


@dataclass(frozen=True)
class Measurement:
    """A test measured: its half-cycles and cycles, metrics by name, life, overpotential, pressure, and what to know."""

    test: Series
    words: Words
    halves: pl.DataFrame
    cycles: pl.DataFrame
    metrics: dict[str, Metric]
    life: Life
    nucleation: Nucleation | None
    pressure: Pressure | None
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]

    @property
    def status(self) -> tuple[str, str | None]:
        """Status and end reason: the user's word; else ended where a failure was found; else stopped or running.

        Stopped where the instrument wrote the end of its programme and the cell is alive: a life is a lower bound
        both ways. Whether a test without an end was taken off, only the user knows.
        """
        if self.words.status is not None:
            found = self.life.mode if self.words.status == "ended" else None
            return self.words.status, self.words.end_reason or found
        if self.life.mode is not None:
            return "ended", self.words.end_reason or self.life.mode
        if "end_of_life_cycle" in self.metrics:
            return "ended", self.words.end_reason or "fade"
        return ("stopped" if self.test.has_end else "running"), self.words.end_reason

    def row(self) -> dict[str, Any]:
        """The columns of the table of cells that this test gives; an efficiency of 1 or more is left out."""
        status, reason = self.status
        row: dict[str, Any] = {"status": status, "end_reason": reason, **self._life_row()}
        ce = self.metrics.get("coulombic_efficiency")
        if ce is not None and 0 < ce.value < 1:
            row |= {"coulombic_efficiency": ce.value, "ce_protocol": ce.settings["protocol"]}
        kept = self.metrics.get("capacity_retention")
        if kept is not None and 0 < kept.value <= 2:
            row |= {"capacity_retention": kept.value, "retention_cycles": kept.settings["retention_cycles"]}
        if "initial_capacity_mah_g" in self.metrics:
            row["initial_capacity_mah_g"] = self.metrics["initial_capacity_mah_g"].value
        if self.nucleation is not None:
            row["nucleation_overpotential_mv"] = self.nucleation.difference_mv
        if self.pressure is not None and self.pressure.initial_kpa > 0:
            row["pressure_kpa"] = self.pressure.initial_kpa
        return {name: value for name, value in row.items() if value is not None}

    def _life_row(self) -> dict[str, Any]:
        """Life at the end, or so far; faded cells end at the cycle that fell below the threshold."""
        faded = self.metrics.get("end_of_life_cycle")
        hours, number = self.life.life_h, float(self.life.life_cycles)
        if faded is not None and self.life.mode is None:
            hours, number = faded.settings["end_h"], faded.value
        return {"cycle_life_h": hours or None, "cycle_life_cycles": number or None}

    def document(self) -> dict[str, Any]:
        """Everything but the curves, for machines and for the record: values with their settings and sources."""
        return {
            "source": self.test.source,
            "format": self.test.format,
            "sha256": self.test.digest,
            "records": len(self.test.frame),
            "duration_h": float(self.test.frame[TIME][-1]) / 3600,
            "cycles": len(self.cycles),
            "words": asdict(self.words),
            "row": self.row(),
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "life": asdict(self.life),
            "nucleation": None if self.nucleation is None else asdict(self.nucleation),
            "pressure": None if self.pressure is None else asdict(self.pressure),
            "channels": [asdict(channel) for channel in self.channels],
            "notes": list(self.notes),
        }


def facts_of(test: Series) -> dict[str, Any]:
    """What can be said of a test before the kind of cell is."""
    volts = test.frame[VOLTAGE]
    return {
        "format": test.format,
        "records": len(test.frame),
        "duration_h": float(test.frame[TIME][-1]) / 3600,
        "voltage_v": [volts.min(), volts.max()],
        "half_cycles": len(half_cycles(test)),
        "columns": test.frame.columns,
        "channels": [vars(channel) for channel in channels(test)],
        "notes": list(test.notes),
    }


def measure(test: Series, words: Words) -> Measurement:
    """Every metric that `words` allow; raises `UserError` where they contradict the test or each other."""
    kind = words.checked().kind
    assert kind is not None
    halves = half_cycles(test)
    table, noticed = cycles(halves, kind, words.plating)
    life = judge(test, halves, table, kind, words.limits)
    into = _into(halves, table, kind)
    notes = [*test.notes, *noticed, *life.remarks]
    metrics = _metrics(halves, table, life, words, into)
    notes += [note for metric in metrics.values() for note in metric.notes]
    found = _attempt(lambda: nucleation(test, halves, into), notes) if kind == "plating" and len(halves) else None
    here = channels(test)
    notes += [f"{channel.name} is zero throughout: no sensor was connected" for channel in here if channel.is_dead]
    force = measured(test, words.channel, words.electrode_mm) if words.channel else _believed(test, here)
    if force is not None and force.warning:
        notes.append(force.warning)
    return Measurement(test, words, halves, table, metrics, life, found, force, here, tuple(notes))


def _into(halves: pl.DataFrame, table: pl.DataFrame, kind: Kind) -> int:
    """The direction of "in": of the first half-cycle that is one."""
    first = table["in_half"].drop_nulls()
    if kind == "full" or not len(first):
        return 1
    return int(halves.filter(pl.col("half") == first[0])["direction"][0])


def _believed(test: Series, here: tuple[Channel, ...]) -> Pressure | None:
    """A surface pressure in pascal, by Battery Data Format or a joined log, needs no further word."""
    alive = any(channel.name == SURFACE and not channel.is_dead for channel in here)
    return measured(test, SURFACE) if alive else None


def _metrics(halves: pl.DataFrame, table: pl.DataFrame, life: Life, words: Words, into: int) -> dict[str, Metric]:
    found: list[Metric | None] = []
    if words.kind != "symmetric" and words.reservoir:
        found.append(efficiency.reservoir_efficiency(halves, into))
    elif words.kind != "symmetric":
        found.append(efficiency.mean_efficiency(table, words.formation, _last_sound(table, life)))
    if words.kind == "plating":
        # The sign alone does not tell plating from stripping: which was taken stands beside the number.
        way = {"plating_direction": "charge" if into > 0 else "discharge"}
        found = [replace(one, settings={**one.settings, **way}) for one in found if one is not None]
    if words.kind == "full" and len(table):
        found += _fade(table, words)
    return {metric.name: metric for metric in found if metric is not None}


def _last_sound(table: pl.DataFrame, life: Life) -> int | None:
    """The last cycle before the failure: efficiencies of a shorted cell say nothing about plating."""
    if life.mode is None:
        return None
    sound = table.filter(pl.col("end_s") <= life.life_h * 3600)
    return int(sound["cycle"][-1]) if len(sound) else 0


def _fade(table: pl.DataFrame, words: Words) -> list[Metric | None]:
    numbers, reference = table["cycle"].to_list(), words.reference_cycle
    if reference not in numbers:
        return []
    found: list[Metric | None] = [efficiency.knee(table, reference)]
    if words.retention_cycles is not None and words.retention_cycles in numbers:
        found.append(efficiency.retention(table, words.retention_cycles, reference))
    if words.active_mass_mg is not None:
        found.append(efficiency.initial_capacity(table, reference, words.active_mass_mg))
    if words.end_of_life is not None:
        found.append(efficiency.end_of_life(table, reference, words.end_of_life))
    return found


def _attempt(compute: Callable[[], Nucleation], notes: list[str]) -> Nucleation | None:
    try:
        return compute()
    except UserError as error:
        notes.append(str(error))
        return None
