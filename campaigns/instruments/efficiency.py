"""Numbers of cycling: efficiency, retention, capacity, end of life, knee. Each says under which settings it holds.

    CE            out / in of one cycle; the mean over stated cycles (domain: per_cycle_mean)
    reservoir CE  (n Q_C + Q_S) / (n Q_C + Q_T), the modified Aurbach protocol: another metric, never pooled with CE
    retention     Q_n / Q_reference of what comes out
    end of life   first cycle from which Q stays below a fraction of Q_reference
    knee          where a second line falls more steeply than the first

`cycles` below is the frame of `instruments.cycles.cycles`, `halves` that of `half_cycles`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from surrogates.errors import UserError

CONFIRMED = 2  # cycles in a row below the threshold before it counts as the end of life
KNEE_RATIO, KNEE_GAIN, KNEE_CYCLES = 2.0, 4.0, 12
RESERVOIR_RATIO = 2.0  # of the short cycles' charge: the plate that lays the reservoir


@dataclass(frozen=True)
class Metric:
    """A number with its unit ("" for a fraction or count), what it was computed with, and what to know about it."""

    name: str
    value: float
    unit: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def mean_efficiency(cycles: pl.DataFrame, formation: int = 0, until: int | None = None) -> Metric | None:
    """Mean of CE = out / in over the cycles after the first `formation`, up to cycle `until` (a failure's) at most.

    None where no whole cycle is left. Cycles with CE >= 1 count in the mean and are named: they are a symptom.
    Source: per-cycle definition, domain E1 (a); the strip cut-off is the one of the test.
    """
    used = _between(cycles, formation, until).filter(pl.col("efficiency").is_not_null())
    if used.is_empty():
        return None
    above = used.filter(pl.col("efficiency") >= 1)["cycle"].to_list()
    settings = {
        "protocol": "per_cycle_mean",
        "first_cycle": int(used["cycle"][0]),
        "last_cycle": int(used["cycle"][-1]),
        "cycles": len(used),
        "formation_cycles_left_out": formation,
    }
    notes = (f"CE at or above 1 in {len(above)} of {len(used)} cycles (first: {above[0]})",) if above else ()
    return Metric("coulombic_efficiency", float(used["efficiency"].mean()), "", settings, notes)  # type: ignore[arg-type]


def reservoir_efficiency(halves: pl.DataFrame, into: int) -> Metric:
    """CE = (n Q_C + Q_S) / (n Q_C + Q_T): plate a reservoir Q_T, then n cycles strip Q_C, plate Q_C, then strip all, Q_S.

    `into`: the plating direction, 1 or -1. The reservoir is the last plate that holds `RESERVOIR_RATIO` times the
    charge of the plates after it; what comes before is conditioning. Computed as sum stripped / sum plated from there
    on, which is the formula where every short cycle moves the same Q_C.
    Source: modified Aurbach protocol (Adams 2018), domain E1 (b). Raises `UserError` where the test is no such protocol.
    """
    plates = halves.filter(pl.col("direction") == into)
    strips = halves.filter(pl.col("direction") == -into)
    starts = [
        place
        for place in range(len(plates) - 1)
        if plates["charge_ah"][place] >= RESERVOIR_RATIO * float(plates["charge_ah"][place + 1 :].max())  # type: ignore[arg-type]
    ]
    if not starts:
        raise UserError(
            "reservoir efficiency: expected one large plating followed by short cycles; found none. "
            "Without a reservoir the efficiency per cycle is the one to state."
        )
    plated = plates[starts[-1] :]
    stripped = strips.filter(pl.col("half") > plated["half"][0])
    if len(stripped) != len(plated):
        raise UserError(
            f"reservoir efficiency: expected as many strips as plates from the reservoir on; found {len(stripped)} "
            f"and {len(plated)}. The test is not over, or was cut off."
        )
    value = float(stripped["charge_ah"].sum()) / float(plated["charge_ah"].sum())
    settings = {
        "protocol": "reservoir",
        "short_cycles": len(plated) - 1,
        "reservoir_mah": float(plated["charge_ah"][0]) * 1000,
        "short_cycle_mah": float(plated["charge_ah"][1:].mean()) * 1000,  # type: ignore[arg-type]
        "final_strip_mah": float(stripped["charge_ah"][-1]) * 1000,
    }
    return Metric("coulombic_efficiency", value, "", settings)


def retention(cycles: pl.DataFrame, at: int, reference: int) -> Metric:
    """Q_at / Q_reference of what comes out (discharge or strip), by the numbers of the cycles.

    The reference is stated because first cycles are often activation (domain E2). Raises `UserError` for cycles that
    the test does not have.
    """
    value = _capacity(cycles, at) / _capacity(cycles, reference)
    return Metric("capacity_retention", value, "", {"retention_cycles": at, "reference_cycle": reference})


def initial_capacity(cycles: pl.DataFrame, reference: int, active_mass_mg: float) -> Metric:
    """Capacity that comes out in the reference cycle, per mass of active material (mAh/g)."""
    value = _capacity(cycles, reference) * 1e6 / active_mass_mg
    settings = {"reference_cycle": reference, "active_mass_mg": active_mass_mg}
    return Metric("initial_capacity_mah_g", value, "mAh/g", settings)


def end_of_life(cycles: pl.DataFrame, reference: int, threshold: float = 0.8) -> Metric | None:
    """First cycle from which capacity stays below `threshold` times that of the reference; None while it lives.

    80 % of the reference is the usual end of life of Li-ion cells (domain E2). `CONFIRMED` cycles in a row are asked
    for, or all that are left; settings hold the time (h) at which that cycle ended.
    """
    limit = threshold * _capacity(cycles, reference)
    known = cycles.filter((pl.col("cycle") > reference) & pl.col("out_ah").is_not_null())
    below = (known["out_ah"] < limit).to_list()
    place = next((n for n in range(len(below)) if all(below[n : n + CONFIRMED]) and len(below) - n >= CONFIRMED), None)
    if place is None:
        return None
    settings = {"threshold": threshold, "reference_cycle": reference, "end_h": float(known["end_s"][place]) / 3600}
    return Metric("end_of_life_cycle", float(known["cycle"][place]), "cycles", settings)


def knee(cycles: pl.DataFrame, reference: int) -> Metric | None:
    """The cycle at which fade turns steeper: two lines meet there, the second falls `KNEE_RATIO` times faster.

    A flag, not a forecast: knees have many causes (Attia 2022, arXiv 2201.02891), and a life is never extrapolated
    through one. Asked for: `KNEE_CYCLES` cycles, and two lines that leave `KNEE_GAIN` times less residual than one.
    """
    known = cycles.filter((pl.col("cycle") >= reference) & pl.col("out_ah").is_not_null())
    if len(known) < KNEE_CYCLES:
        return None
    x, y = known["cycle"].to_numpy().astype(float), known["out_ah"].to_numpy() / float(known["out_ah"][0])
    straight = _residual(np.column_stack([np.ones_like(x), x]), y)[0]
    inner = x[3:-3]
    fits = [_residual(np.column_stack([np.ones_like(x), x, np.maximum(x - at, 0.0)]), y) for at in inner]
    best = int(np.argmin([residual for residual, _ in fits]))
    residual, (_, slope, turn) = fits[best]
    # Noise of 1e-9 stands for exact data, where any ratio of residuals could appear.
    is_knee = slope + turn < 0 and turn < 0 and slope + turn <= KNEE_RATIO * min(slope, 0.0)
    if not is_knee or straight < KNEE_GAIN * max(residual, 1e-9):
        return None
    settings = {"slope_before_per_cycle": slope, "slope_after_per_cycle": slope + turn}
    return Metric("knee_cycle", float(inner[best]), "cycles", settings)


def _residual(design: np.ndarray, y: np.ndarray) -> tuple[float, tuple[float, ...]]:
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    return float(np.sum((y - design @ solution) ** 2)), tuple(float(part) for part in solution)


def _between(cycles: pl.DataFrame, formation: int, until: int | None) -> pl.DataFrame:
    first = int(cycles["cycle"][0]) if len(cycles) else 1
    used = cycles.filter(pl.col("cycle") >= first + formation)
    return used if until is None else used.filter(pl.col("cycle") <= until)


def _capacity(cycles: pl.DataFrame, number: int) -> float:
    found = cycles.filter(pl.col("cycle") == number)["out_ah"]
    if len(found) != 1 or found[0] is None:
        have = f"cycles {cycles['cycle'][0]} to {cycles['cycle'][-1]}" if len(cycles) else "no cycles"
        raise UserError(f"cycle {number}: expected a cycle of the test that came to its end; found {have}.")
    return float(found[0])
