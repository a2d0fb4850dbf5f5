"""Nucleation overpotential of a plating: tip, plateau and their difference, all in mV and positive.

    tip       the largest |V| at the start of the plating, from a curve through its neighbours (noise makes a bare extreme
              too large)
    plateau   the median |V| over the later part of the same plating
    difference = tip - plateau

Papers differ in which of them they call the nucleation overpotential (domain E4), so all three are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from campaigns.instruments.series import TIME, VOLTAGE, Series
from surrogates.errors import UserError

TIP_PART, PLATEAU_PART = 0.3, (0.5, 0.95)  # of the plating's duration
LEAST_RECORDS, WIDEST = 8, 20  # records in a plating; neighbours on each side of the tip
SLACK = 4.0  # standard deviations by which chi squared of a fit may exceed its degrees of freedom


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
    later = size[(elapsed >= PLATEAU_PART[0]) & (elapsed <= PLATEAU_PART[1])]
    if not len(later):
        raise UserError("nucleation: expected records in the later half of the plating; found none.")
    plateau = float(np.median(later))
    noise = _noise(size[elapsed > TIP_PART])
    early = max(int(np.searchsorted(elapsed, TIP_PART)), LEAST_RECORDS)
    tip = _tip(time[:early], size[:early], noise)
    return Nucleation(1e3 * tip, 1e3 * plateau, 1e3 * (tip - plateau), int(row["half"]), 1e3 * noise, len(time))


def _noise(values: np.ndarray) -> float:
    """Standard deviation of white noise on a smooth curve, from its second differences (their sd is sqrt(6) as large)."""
    second = np.diff(values, 2)
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / np.sqrt(6)) if len(second) else 0.0


def _tip(time: np.ndarray, size: np.ndarray, noise: float) -> float:
    """The curve's maximum: of an exponential decay where that describes it, else of a cubic about the extreme."""
    if noise <= 0:
        return float(np.max(size))
    peak = int(np.argmax(_smoothed(size)))
    decay = _decay(time[peak:], size[peak:], noise)
    if decay is None:
        return _cubic(time, size, peak, noise)
    start = peak
    # Noise may put the extreme after the tip: records before it that lie on the same decay belong to it.
    while start > 0 and abs(size[start - 1] - decay(time[start - 1] - time[peak])) <= 3 * noise:
        start -= 1
    return float(decay(time[start] - time[peak]))


def _decay(time: np.ndarray, size: np.ndarray, noise: float) -> Callable[[float], float] | None:
    """a + b exp(-t / tau) with the best tau of a grid, as a function of t; None where it leaves more than noise."""
    elapsed = time - time[0]
    best: tuple[float, float, float, float] | None = None
    for tau in np.geomspace(max(elapsed[1], 1e-6), 4 * elapsed[-1], 60) if len(elapsed) >= LEAST_RECORDS else ():
        design = np.column_stack([np.ones_like(elapsed), np.exp(-elapsed / tau)])
        (level, height), *_ = np.linalg.lstsq(design, size, rcond=None)
        left = float(np.sum((size - design @ [level, height]) ** 2)) / noise**2
        if best is None or left < best[0]:
            best = (left, float(level), float(height), float(tau))
    freedom = len(elapsed) - 3
    if best is None or best[0] > freedom + SLACK * np.sqrt(2 * freedom):
        return None
    _, level, height, tau = best
    return lambda t: level + height * float(np.exp(-t / tau))


def _cubic(time: np.ndarray, size: np.ndarray, peak: int, noise: float) -> float:
    """The maximum of the cubic over as many records about the peak as leave no more than noise."""
    best = float(size[peak])
    for reach in range(LEAST_RECORDS // 2, WIDEST):
        low, high = max(peak - reach, 0), min(peak + reach + 1, len(size))
        freedom = high - low - 4
        fit = np.polynomial.Polynomial.fit(time[low:high], size[low:high], 3)
        left = float(np.sum((size[low:high] - fit(time[low:high])) ** 2)) / noise**2
        if freedom >= 2 and left <= freedom + SLACK * np.sqrt(2 * freedom):
            best = float(np.max(fit(np.linspace(time[low], time[min(peak + 3, high - 1)], 101))))
    return best


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Running median of three: a single odd record is no tip."""
    padded = np.pad(values, 1, mode="edge")
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0))
