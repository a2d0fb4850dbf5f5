"""Families of electrode pairs with known truth, never used for tuning.

ln of the median life over ln-pressure is that of two competing modes (or flat) plus a smooth deviation that no parametric
model holds. Lives scatter by a Weibull distribution with k from 3 to 6; one cell in ten is an assembly fault that looks
like an early failure, among the cells that a model learns from and among the held-out cells alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from surrogates import Cell, Condition, Prior
from surrogates.mechanisms import log_pressure

from ..worlds import cells_from, true_log_life
from .running import FIRST_SEED

LOW, HIGH = 10.0, 2000.0
GRID = np.exp(np.linspace(math.log(LOW), math.log(HIGH), 121))
HELD_OUT = 20
MOST = 20
FAULTS = 0.1
SOURCES = ("Zn||Cu", "Zn||SS", "Zn||Zn", "Zn||C", "Zn||MnO2", "Zn||VO2")
SOURCE_CELLS = 8
CONDITION = Condition(
    electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2"
)


@dataclass(frozen=True)
class Family:
    """What is drawn.

    best_kpa     the best pressure is log-uniform between these
    level_h      median life at the best pressure within the range, give or take a factor 2
    flat         pressure does nothing
    two_peaks    a dip of 1.2 in ln(life) cuts the curve in two
    wrong_prior  the prior's best pressure lies this factor above (every other world: below) the truth's
    sources      best pressure of six other pairs that share an electrode: "like" the target's or "opposite"
    """

    best_kpa: tuple[float, float] = (60.0, 1500.0)
    level_h: float = 100.0
    flat: bool = False
    two_peaks: bool = False
    wrong_prior: float = 1.0
    sources: str | None = None


FAMILIES = {
    "well-specified": Family(),
    "shifted": Family(best_kpa=(6.0, 150.0)),
    "off-scale": Family(level_h=20_000.0),
    "flat": Family(flat=True),
    "edge": Family(best_kpa=(4000.0, 100_000.0)),
    "two peaks": Family(two_peaks=True),
    "wrong prior": Family(wrong_prior=10.0),
    "opposite sources": Family(sources="opposite"),
    "like sources": Family(sources="like"),
}
"""The default prior's best pressure has its median at 500 kPa, sd 1 in ln: the middle of "shifted" is a factor 17 below."""


@dataclass(frozen=True)
class Truth:
    """One pair's curve and scatter: life `level_h` at `best_kpa`, which may lie outside the range; each bump of the
    deviation is (centre in x, width, height)."""

    best_kpa: float
    level_h: float
    a: float
    b: float
    bumps: tuple[tuple[float, float, float], ...]
    flat: bool
    weibull_k: float

    def log_life(self, pressure_kpa: Any) -> np.ndarray:
        """ln of the median life in h at each pressure."""
        x = log_pressure(pressure_kpa)
        base = math.log(self.level_h) + 0 * x
        if not self.flat:
            base = true_log_life(pressure_kpa, self.best_kpa, self.level_h, self.a, self.b)
        return base + sum(height * np.exp(-0.5 * ((x - at) / width) ** 2) for at, width, height in self.bumps)

    def scatter(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """ln of lives over their median."""
        life = generator.weibull(self.weibull_k, count) / math.log(2) ** (1 / self.weibull_k)
        early = generator.uniform(size=count) < FAULTS
        return np.log(np.where(early, life * generator.uniform(0.05, 0.5, count), life))

    def cells(self, count: int, generator: np.random.Generator, pair: str = CONDITION.electrode_pair) -> list[Cell]:
        """Cells at random pressures."""
        pressures = np.exp(generator.uniform(math.log(LOW), math.log(HIGH), count))
        lives = self.log_life(pressures) + self.scatter(count, generator)
        return [
            cell.model_copy(update={"cell_id": f"{pair} {cell.cell_id}", "electrode_pair": pair})
            for cell in cells_from(list(pressures), list(lives))
        ]


@dataclass(frozen=True)
class Case:
    """What a model is given (the cells of the pair, those of other pairs, a prior) and what it is held against."""

    truth: Truth
    cells: tuple[Cell, ...]
    sources: tuple[Cell, ...]
    held_out: tuple[Cell, ...]
    prior: Prior
    seed: int


def draw_case(family: str, number: int, count: int, censored: float = 0.0) -> Case:
    """World `number` of a family with `count` cells; a smaller count gives the first cells of a larger one.

    `censored`: the share of cells that a test budget takes off alive.
    """
    kind = FAMILIES[family]
    truths, cells, held_out, others = (
        np.random.default_rng([FIRST_SEED + number, list(FAMILIES).index(family), stream]) for stream in range(4)
    )
    truth = draw_truth(kind, truths)
    return Case(
        truth=truth,
        cells=within_budget(truth.cells(MOST, cells)[:count], censored),
        sources=_draw_sources(kind, truth, others),
        held_out=tuple(truth.cells(HELD_OUT, held_out)),
        prior=_draw_prior(kind, truth, number),
        seed=number,
    )


def draw_truth(family: Family, generator: np.random.Generator) -> Truth:
    """A pair of a family."""
    bumps = [
        (generator.uniform(-3, 2), generator.uniform(0.5, 1.2), 0.15 * generator.standard_normal()) for _ in range(2)
    ]
    if family.two_peaks:
        bumps.append((generator.uniform(-1.5, 0.5), 0.5, -1.2))
    best, level = _log_uniform(family.best_kpa, generator), family.level_h * _factor(0.7, generator)
    a, b = _factor(0.35, generator), _factor(0.35, generator)
    within_range = float(np.exp(true_log_life(min(max(best, LOW), HIGH), best, 1.0, a, b)))
    return Truth(
        best_kpa=best,
        level_h=level if family.flat else level / within_range,
        a=a,
        b=b,
        bumps=() if family.flat else tuple(bumps),
        flat=family.flat,
        weibull_k=float(generator.uniform(3, 6)),
    )


def within_budget(cells: Sequence[Cell], share: float) -> tuple[Cell, ...]:
    """The cells of a test that is stopped when all but the longest-lived `share` of them have ended.

    The end of the last one to end is the budget: a rule that looks at no life still unseen, so survival at that time is all
    that a stopped cell says (a budget between two lives would tell of the later one).
    """
    alive = round(share * len(cells))
    if not alive:
        return tuple(cells)
    lives = sorted(cell.cycle_life_h or math.nan for cell in cells)
    budget = lives[-alive - 1]
    stopped = {"status": "stopped", "cycle_life_h": budget}
    return tuple(cell.model_copy(update=stopped) if (cell.cycle_life_h or 0) > budget else cell for cell in cells)


def _draw_sources(family: Family, target: Truth, generator: np.random.Generator) -> tuple[Cell, ...]:
    """Cells of six other pairs in the target's electrolyte, each sharing one electrode with it.

    Like pairs lie around the target within a third of the spread over all pairs: 0.3 in ln(best pressure), 0.12 in ln
    slope, 0.23 in ln life. Opposite ones do so but for the best pressure, at 20 or 1500 kPa, whichever is farther.
    """
    if family.sources is None:
        return ()
    centre = target.best_kpa if family.sources == "like" else (20.0 if target.best_kpa > 300 else 1500.0)
    cells = []
    for pair in SOURCES:
        bumps = draw_truth(family, generator).bumps
        source = replace(
            target,
            best_kpa=centre * _factor(0.3, generator),
            level_h=target.level_h * _factor(0.23, generator),
            a=target.a * _factor(0.12, generator),
            b=target.b * _factor(0.12, generator),
            bumps=bumps,
            weibull_k=float(generator.uniform(3, 6)),
        )
        cells += source.cells(SOURCE_CELLS, generator, pair)
    return tuple(cells)


def _draw_prior(family: Family, truth: Truth, number: int) -> Prior:
    """The default prior, or one that is wrong about the best pressure by the family's factor."""
    prior = Prior.default()
    if family.wrong_prior == 1:
        return prior
    median = truth.best_kpa * family.wrong_prior ** (1 if number % 2 else -1)
    best = prior.best_pressure.model_copy(update={"median": median})
    return prior.model_copy(update={"name": "wrong best pressure", "best_pressure": best})


def _log_uniform(ends: tuple[float, float], generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(*np.log(ends))))


def _factor(sd: float, generator: np.random.Generator) -> float:
    return float(np.exp(sd * generator.standard_normal()))
