"""How long a fit and a suggestion take in a running process, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from optimizer import suggest
from surrogates import Condition, fit

from ..worlds import world

REPEATS = 21
CONDITION = Condition(
    electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2"
)


def milliseconds(work: Callable[[int], object]) -> list[float]:
    """Times of REPEATS runs after one to warm up; `work` is given a seed."""
    work(0)
    times = []
    for seed in range(1, REPEATS + 1):
        start = time.perf_counter()
        work(seed)
        times.append(1000 * (time.perf_counter() - start))
    return times


def run() -> list[dict[str, Any]]:
    """Median, fastest and slowest of a fit, and of a fit with its suggestion, by number of cells (30 % censored)."""
    torch.set_num_threads(1)
    rows = []
    for count in (0, 3, 10, 30, 100):
        cells = [
            cell.model_copy(update={"status": "stopped"}) if number % 10 < 3 else cell
            for number, cell in enumerate(world(count, seed=count))
        ]
        fits = milliseconds(lambda seed, cells=cells: fit(cells, seed=seed).posterior(CONDITION))
        whole = milliseconds(lambda seed, cells=cells: suggest(fit(cells, seed=seed), CONDITION, seed=seed))
        for what, times in (("fit", fits), ("fit + suggest", whole)):
            row = {"what": what, "cells": count, "median ms": median(times)}
            rows.append({**row, "fastest ms": min(times), "slowest ms": max(times)})
    return rows
