"""How long fits and suggestions take in a running process, on one thread, and how they grow with the table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np

import surrogates
from optimizer import suggest
from surrogates import Cell, Prior, UserError, fit

from ..worlds import world
from .asking import CELLS, peak_mb, timings
from .peers import fit_multi_task
from .running import FIRST_SEED, one_thread_each
from .worlds import CONDITION, FAMILIES, draw_case, draw_truth

REPEATS = 21
FEW = 3
THREE = ["cycle_life_h", "coulombic_efficiency", "capacity_retention"]
PAIRS = (25, 50, 100)
CELLS_A_PAIR = 20
CAMPAIGNS = (250, 500, 1000)
CAMPAIGN_CELLS = 12
BEHIND_PRIOR = (1000, 100)
"""Campaigns and cells a campaign that the learned prior of the speed test is learned from: 100,000 cells."""

Row = dict[str, Any]


def run() -> list[Row]:
    """Times in ms and peak memory of the process in MB; `note` says what was left out, and why."""
    one_thread_each()
    rows = [*by_cells(), three_outcomes(), *with_history(), *(in_own_process(pairs) for pairs in PAIRS)]
    return [*rows, *suggestions(), *learning()]


def row(what: str, cells: int, times: list[float], **more: Any) -> Row:
    """A row of the table; times in ms, none where the row could not be measured."""
    found = {"median ms": median(times), "fastest ms": min(times), "slowest ms": max(times)} if times else {}
    empty = {"median ms": None, "fastest ms": None, "slowest ms": None, "peak MB": None, "note": ""}
    return {"what": what, "cells": cells, **empty, **found, **more}


def milliseconds(work: Callable[[int], object], repeats: int = REPEATS, warm: bool = True) -> list[float]:
    """Times of the runs after one to warm up; `work` is given a seed."""
    if warm:
        work(0)
    times = []
    for seed in range(1, repeats + 1):
        start = time.perf_counter()
        work(seed)
        times.append(1000 * (time.perf_counter() - start))
    return times


def by_cells() -> list[Row]:
    """A fit, and a fit with its suggestion, by number of cells, 30 % censored."""
    rows = []
    for count in (0, 3, 10, 30, 100):
        cells = censored_world(count)
        fits = milliseconds(lambda seed, cells=cells: fit(cells, seed=seed).posterior(CONDITION))
        whole = milliseconds(lambda seed, cells=cells: suggest(fit(cells, seed=seed), CONDITION, seed=seed))
        rows += [row("fit", count, fits), row("fit + suggest", count, whole)]
    return rows


def censored_world(count: int) -> list[Cell]:
    """Cells, three in ten still alive when they were taken off."""
    cells = world(count, seed=count)
    return [cell.model_copy(update={"status": "stopped"}) if i % 10 < 3 else cell for i, cell in enumerate(cells)]


def three_outcomes() -> Row:
    """Cycle life, coulombic efficiency and retention of 30 cells in one fit."""
    what = "fit, three outcomes"
    cells = [with_three_outcomes(cell) for cell in censored_world(30)]
    try:
        return row(what, 30, milliseconds(lambda seed: fit(cells, outcome=THREE, seed=seed).posterior(CONDITION)))
    except (TypeError, UserError) as error:
        return row(what, 30, [], note=f"left out: fit takes no list of outcomes ({type(error).__name__})")


def with_three_outcomes(cell: Cell) -> Cell:
    """The cell with an efficiency and a retention that follow its life."""
    rate = 1 / (cell.cycle_life_h or math.nan)
    update = {
        "coulombic_efficiency": math.exp(-2 * rate),
        "ce_protocol": "per_cycle_mean",
        "capacity_retention": math.exp(-20 * rate),
        "retention_cycles": 100,
    }
    return cell.model_copy(update=update)


def with_history() -> list[Row]:
    """Eight cells of a pair with six other pairs of eight cells: ours and MultiTaskGP on the same data."""
    case = draw_case("like sources", 0, 8)
    table = [*case.cells, *case.sources]
    ours = milliseconds(lambda seed: fit(table, seed=seed).posterior(CONDITION), FEW)
    theirs = milliseconds(lambda seed: fit_multi_task(replace(case, seed=seed)), repeats=1, warm=False)
    return [
        row("fit with 6 x 8 cells of history", len(table), ours),
        row("BoTorch MultiTaskGP on the same data", len(table), theirs, note="one run"),
    ]


def suggestions() -> list[Row]:
    """One suggestion by our optimiser and by each peer, and its memory."""
    return [row(what, cells, times, **more) for what, cells, times, more in timings(censored_world(CELLS))]


def in_own_process(pairs: int) -> Row:
    """The posterior of one condition of a table of many pairs, in a fresh process: time and peak memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=one_thread_each) as pool:
        times, peak = pool.submit(fit_many_pairs, pairs).result()
    return row(f"fit, one pair of {pairs}", pairs * CELLS_A_PAIR, times, **{"peak MB": peak})


def fit_many_pairs(pairs: int) -> tuple[list[float], float]:
    """Times in ms, and the highest memory of this process in MB."""
    generator = np.random.default_rng([FIRST_SEED, pairs])
    names = [CONDITION.electrode_pair, *(f"Zn||X{number}" for number in range(1, pairs))]
    cells = [
        cell
        for name in names
        for cell in draw_truth(FAMILIES["well-specified"], generator).cells(CELLS_A_PAIR, generator, name)
    ]
    times = milliseconds(lambda seed: fit(cells, seed=seed).posterior(CONDITION), FEW)
    return times, peak_mb()


def learning() -> list[Row]:
    """Learning a prior from many campaigns, and a fit with the prior behind which 100,000 cells stand."""
    learn = getattr(surrogates, "learn", None)
    if learn is None:
        return [row("learn a prior", 0, [], note="left out: surrogates.learn does not exist")]
    rows = []
    for count in CAMPAIGNS:
        tables = campaigns(count, CAMPAIGN_CELLS)
        times = milliseconds(lambda _, tables=tables: learn(tables, Prior.default()), repeats=1, warm=False)
        rows.append(row(f"learn a prior from {count} campaigns", count * CAMPAIGN_CELLS, times, note="one run"))
    prior = learn(campaigns(*BEHIND_PRIOR), Prior.default())
    cells = censored_world(30)
    times = milliseconds(lambda seed: fit(cells, prior=prior, seed=seed).posterior(CONDITION))
    return [*rows, row("fit with a learned prior", 30, times, note=f"{math.prod(BEHIND_PRIOR)} cells behind the prior")]


def campaigns(count: int, cells: int) -> list[list[Cell]]:
    """Tables of finished campaigns, a pair each."""
    generator = np.random.default_rng([FIRST_SEED, count, cells])
    family = FAMILIES["well-specified"]
    return [draw_truth(family, generator).cells(cells, generator, f"Zn||X{number}") for number in range(count)]
