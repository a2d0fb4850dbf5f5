"""Is the surrogate as sure as it may be? Worlds drawn from families with known truth, never used for tuning.

For each world: n cells at random pressures, then 90 % intervals for new cells and for the best pressure, the error of the
median curve, and the log score of held-out cells beside that of scikit-learn's Gaussian process on the same cells.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from surrogates import Cell, Condition, fit
from surrogates.baselines import fit_baseline
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import Outcome, readings

from ..worlds import cells_from, true_log_life

WORLDS = int(os.environ.get("STACKPRESS_BENCH_WORLDS", "200"))
FIRST_SEED = 50_000
COUNTS = (2, 3, 5, 10, 20)
HELD_OUT = 20
LOW, HIGH = 10.0, 2000.0
CONDITION = Condition(
    electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2"
)


@dataclass(frozen=True)
class Truth:
    """ln of the median life over ln-pressure: two modes (or none) and a smooth deviation."""

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
        """ln of Weibull lives over their median, one in ten an assembly fault that looks like an early failure."""
        life = generator.weibull(self.weibull_k, count) / math.log(2) ** (1 / self.weibull_k)
        early = generator.uniform(size=count) < 0.1
        return np.log(np.where(early, life * generator.uniform(0.05, 0.5, count), life))


def draw_truth(family: str, generator: np.random.Generator) -> Truth:
    """A world of a family."""
    best = {"shifted": (1.0, 10.0), "edge": (4000.0, 40_000.0)}.get(family, (60.0, 1500.0))
    level = 20_000.0 if family == "off-scale" else 100.0
    bumps = [
        (generator.uniform(-3, 2), generator.uniform(0.5, 1.2), 0.15 * generator.standard_normal()) for _ in range(2)
    ]
    if family == "two peaks":
        bumps.append((generator.uniform(-1.5, 0.5), 0.5, -1.2))
    return Truth(
        best_kpa=float(np.exp(generator.uniform(*np.log(best)))),
        level_h=float(level * np.exp(0.7 * generator.standard_normal())),
        a=float(np.exp(0.35 * generator.standard_normal())),
        b=float(np.exp(0.35 * generator.standard_normal())),
        bumps=() if family == "flat" else tuple(bumps),
        flat=family == "flat",
        weibull_k=float(generator.uniform(3, 6)),
    )


FAMILIES = ("well-specified", "shifted", "off-scale", "flat", "edge", "two peaks")


def _cells(truth: Truth, count: int, generator: np.random.Generator) -> tuple[Cell, ...]:
    pressures = np.exp(generator.uniform(math.log(LOW), math.log(HIGH), count))
    lives = truth.log_life(pressures) + truth.scatter(count, generator)
    return cells_from(list(pressures), list(lives))


def measure(task: tuple[str, int, int]) -> dict[str, float]:
    """One world of a family with n cells."""
    family, count, number = task
    generator = np.random.default_rng([FIRST_SEED + number, count, FAMILIES.index(family)])
    truth = draw_truth(family, generator)
    cells, held_out = _cells(truth, count, generator), _cells(truth, HELD_OUT, generator)
    surrogate = fit(cells, seed=number)
    pressures = [cell.pressure_kpa for cell in held_out]
    y = np.array([math.log(cell.cycle_life_h or 1) for cell in held_out])
    table = surrogate.predict(CONDITION, pressures)
    inside = (np.log(table["cell_lower"]) <= y) & (y <= np.log(table["cell_upper"]))
    ours = [surrogate.log_density(CONDITION, p, value)[0] for p, value in zip(pressures, y, strict=True)]
    mean, sd = fit_baseline(readings(cells, Outcome("cycle_life_h")), seed=number).predict(pressures)
    theirs = -0.5 * ((y - mean) / sd) ** 2 - np.log(sd) - 0.5 * math.log(2 * math.pi)
    grid = np.exp(np.linspace(math.log(LOW), math.log(HIGH), 121))
    true_curve = truth.log_life(grid)
    best = surrogate.optimum(CONDITION, (LOW, HIGH))
    true_best = grid[true_curve.argmax()]
    recommended = float(truth.log_life(best.pressure_kpa))
    return {
        "cell": float(inside.mean()),
        "best": float(best.interval_kpa[0] * 0.999 <= true_best <= best.interval_kpa[1] * 1.001),
        "error": float(np.abs(np.log(surrogate.predict(CONDITION, grid)["median"]) - true_curve).mean()),
        "log score": float(np.mean(ours)),
        "log score, scikit-learn": float(theirs.mean()),
        "regret": 1 - math.exp(recommended - float(true_curve.max())),
    }


def run() -> list[dict[str, Any]]:
    """Means (medians for scores and errors) over the worlds of each family and number of cells."""
    tasks = [(family, count, number) for family in FAMILIES for count in COUNTS for number in range(WORLDS)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(measure, tasks, chunksize=20))
    rows = []
    for family in FAMILIES:
        for count in COUNTS:
            some = [result for (f, c, _), result in zip(tasks, found, strict=True) if (f, c) == (family, count)]
            row: dict[str, Any] = {"family": family, "cells": count, "worlds": len(some)}
            row |= {f"90 % of {name}": float(np.mean([result[name] for result in some])) for name in ("cell", "best")}
            row |= {
                f"median {name}": float(np.median([result[name] for result in some]))
                for name in ("error", "log score", "log score, scikit-learn")
            }
            rows.append({**row, "mean regret": float(np.mean([result["regret"] for result in some]))})
    return rows
