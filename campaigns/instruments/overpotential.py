"""Nucleation overpotential of a plating: tip, plateau and their difference, all in mV and positive.

    tip       the largest |V| at the start of the plating, from a parabola through its neighbours (noise makes a bare
              extreme too large)
    plateau   the median |V| over the later part of the same plating
    difference = tip - plateau

Papers differ in which of them they call the nucleation overpotential (domain E4), so all three are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from campaigns.instruments.series import TIME, VOLTAGE, Series
from surrogates.errors import UserError

TIP_PART, PLATEAU_PART = 0.3, (0.5, 0.95)  # of the plating's duration
LEAST_RECORDS, WIDEST = 8, 40  # records in a plating; neighbours on each side of the tip
FIT_SLACK = 1.15  # a parabola is good while what it leaves is within this factor of the noise
OPEN_CIRCUIT_RECORDS = 3  # the first records of a step still show the voltage before it


@dataclass(frozen=True)
class Nucleation:
    """Tip, plateau and difference (mV) of half-cycle `half`, the noise of its records (mV) and how many there were."""

    tip_mv: float
    plateau_mv: float
    difference_mv: float
    half: int
    noise_mv: float
    records: int


def nucleation(test: Series, halves: pl.DataFrame, into: int, number: int = 1) -> Nucleation:
    """The nucleation overpotential of the `number`-th plating (1: the first), `into` the plating direction (1 or -1).

    Voltage is taken against zero: the counter electrode is of the same metal as what is plated.
    Raises `UserError` where there is no such plating or too few records in it.
    """
    plates = halves.filter(pl.col("direction") == into)
    if len(plates) < number:
        raise UserError(f"nucleation: expected a plating number {number}; found {len(plates)} platings.")
    row = plates.row(number - 1, named=True)
    part = test.frame[int(row["first"]) : int(row["last"]) + 1]
    time, size = part[TIME].to_numpy(), part[VOLTAGE].to_numpy() * into
    if len(time) < LEAST_RECORDS:
        raise UserError(f"nucleation: expected {LEAST_RECORDS} records or more in the plating; found {len(time)}.")
    elapsed = (time - time[0]) / max(time[-1] - time[0], 1e-9)
    plateau = float(np.median(size[(elapsed >= PLATEAU_PART[0]) & (elapsed <= PLATEAU_PART[1])]))
    noise = _noise(size[elapsed > TIP_PART])
    early = max(int(np.searchsorted(elapsed, TIP_PART)), LEAST_RECORDS)
    tip = _tip(time[:early], size[:early], noise)
    return Nucleation(1e3 * tip, 1e3 * plateau, 1e3 * (tip - plateau), int(row["half"]), 1e3 * noise, len(time))


def _noise(values: np.ndarray) -> float:
    """Standard deviation of white noise on a smooth curve, from its second differences (their sd is sqrt(6) as large)."""
    second = np.diff(values, 2)
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / np.sqrt(6)) if len(second) else 0.0


def _tip(time: np.ndarray, size: np.ndarray, noise: float) -> float:
    """The curve's maximum: of the widest parabola about it that leaves no more than noise."""
    peak = int(np.argmax(_smoothed(size))) if noise > 0 else int(np.argmax(size))
    best = float(size[peak])
    if noise <= 0:
        return best
    for reach in range(2, WIDEST):
        low, high = max(peak - reach, 0), min(peak + reach + 1, len(size))
        if high - low < 5:
            continue
        x = (time[low:high] - time[peak]) / max(time[high - 1] - time[low], 1e-9)
        fit = np.polynomial.Polynomial.fit(x, size[low:high], 2)
        left = float(np.sqrt(np.sum((size[low:high] - fit(x)) ** 2) / max(high - low - 3, 1)))
        if left > FIT_SLACK * noise and reach > 2:
            break
        best = float(np.max(fit(np.linspace(x[0], x[-1], 101))))
    return best


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Running median of three: a single odd record is no tip."""
    padded = np.pad(values, 1, mode="edge")
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0))
