"""What a fitted model is worth on a world, and the summary of many worlds.

coverage    share of held-out cells in the central interval of a nominal level (faults among them)
best        whether the 90 % interval of the best pressure holds it
error       mean absolute error of the median curve over the range, in ln(life)
log score   mean ln density of the held-out cells, nats a cell
regret      share of life lost at the pressure that the model would choose
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .peers import Contender, Predictor
from .running import PEER_WORLDS, SLOW_WORLDS, WORLDS, in_parallel
from .worlds import GRID, Case, draw_case

LEVELS = (0.5, 0.8, 0.9, 0.95)
CURVE = GRID[::3]

Measures = dict[str, float]
Key = tuple[str, int, str]


@dataclass(frozen=True)
class Plan:
    """Which contenders meet on which worlds; the first contender is the one that others are held against."""

    contenders: tuple[Contender, ...]
    families: tuple[str, ...]
    counts: tuple[int, ...]
    censored: float = 0.0
    from_cells: int = 0
    """Only the first contender is run on fewer cells than this."""

    def of(self, count: int, number: int) -> tuple[Contender, ...]:
        """The contenders on world `number` with `count` cells."""
        return tuple(
            contender
            for rank, contender in enumerate(self.contenders)
            if count >= contender.fewest
            and (rank == 0 or count >= self.from_cells)
            and (number < PEER_WORLDS or not contender.peer)
            and (number < SLOW_WORLDS or not contender.slow)
        )


def compare(plan: Plan, what: str) -> list[dict[str, Any]]:
    """A row a family, number of cells and contender."""
    tasks = [(plan, family, number) for family in plan.families for number in range(WORLDS)]
    found: dict[Key, dict[int, Measures]] = defaultdict(dict)
    for (_, _, number), world in zip(tasks, in_parallel(measure_world, tasks, what), strict=True):
        for key, measures in world.items():
            found[key][number] = measures
    first = plan.contenders[0].name
    keys = [(f, c, contender.name) for f in plan.families for c in plan.counts for contender in plan.contenders]
    return [summary(key, found[key], found[*key[:2], first]) for key in keys if key in found]


def measure_world(task: tuple[Plan, str, int]) -> dict[Key, Measures]:
    """All contenders on one world, for all numbers of cells."""
    plan, family, number = task
    found = {}
    for count in plan.counts:
        case = draw_case(family, number, count, plan.censored)
        for contender in plan.of(count, number):
            start = time.perf_counter()
            predictor = contender.fit(case)
            seconds = time.perf_counter() - start
            found[family, count, contender.name] = {**measure(predictor, case), "seconds": seconds}
    return found


def measure(predictor: Predictor, case: Case) -> Measures:
    """One model on one world."""
    pressures = np.array([cell.pressure_kpa for cell in case.held_out])
    y = np.log([cell.cycle_life_h or math.nan for cell in case.held_out])
    below = predictor.cdf(pressures, y)
    chosen, interval = predictor.best()
    highest = case.truth.log_life(GRID)
    inside = math.nan
    if interval is not None and not case.truth.flat:
        inside = float(interval[0] * 0.999 <= GRID[highest.argmax()] <= interval[1] * 1.001)
    return {
        **{f"{level:.0%}": float((np.abs(below - 0.5) <= level / 2).mean()) for level in LEVELS},
        "below": float((below < 0.05).mean()),
        "above": float((below > 0.95).mean()),
        "best": inside,
        "best width": math.nan if interval is None else math.log(interval[1] / interval[0]),
        "error": float(np.abs(predictor.median(CURVE) - case.truth.log_life(CURVE)).mean()),
        "log score": float(predictor.log_density(pressures, y).mean()),
        "regret": 1 - math.exp(float(case.truth.log_life(chosen)) - float(highest.max())),
    }


def summary(key: Key, worlds: dict[int, Measures], first: dict[int, Measures]) -> dict[str, Any]:
    """Means of coverages and regret with standard errors over worlds, medians of errors and scores.

    `lead` is the median over worlds of the first contender's log score less this one's; `error ratio` this one's median
    error over the first's on the same worlds.
    """

    def values(name: str, of: dict[int, Measures] = worlds) -> np.ndarray:
        return np.array([of[number][name] for number in worlds])

    lead = values("log score", first) - values("log score")
    family, count, model = key
    return {
        "family": family,
        "cells": count,
        "model": model,
        "worlds": len(worlds),
        **{f"{level:.0%}": float(values(f"{level:.0%}").mean()) for level in LEVELS},
        "90% se": standard_error(values("90%")),
        "below 5%": float(values("below").mean()),
        "above 95%": float(values("above").mean()),
        "best 90%": float(values("best").mean()),
        "best se": standard_error(values("best")),
        "best width": float(np.median(values("best width"))),
        "error": float(np.median(values("error"))),
        "error ratio": float(np.median(values("error")) / np.median(values("error", first))),
        "log score": float(np.median(values("log score"))),
        "mean log score": float(values("log score").mean()),
        "lead": float(np.median(lead)),
        "lead se": median_error(lead),
        "mean lead": float(lead.mean()),
        "mean lead se": standard_error(lead),
        "regret": float(values("regret").mean()),
        "fit ms": 1000 * float(np.median(values("seconds"))),
    }


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean; nan for one value."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def median_error(values: np.ndarray) -> float:
    """Standard error of the median of values that are normal but for their tails: from the quartiles."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(1.2533 * (high - low) / 1.349 / math.sqrt(len(values)))


def select(rows: Sequence[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]
