"""How long one suggestion takes, its fit included, and what memory: ours and peers on the same cells, in one process.

A peer is told of the cells beforehand; the time is that of its answer. Peers read a cell that was stopped at its value.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from optimizer import suggest
from surrogates import Cell, fit

from ..worlds import world
from .games import FIRST_KPA
from .ours import OURS
from .players import ENTRANTS, Entrant, Peer
from .running import one_thread_each
from .stored import versions
from .worlds import CONDITION, SOURCES, Case, draw_case

REPEATS = 21
CELLS = 30
PAIRS, CELLS_A_PAIR = 20, 15
SUGGESTION = "one suggestion"
MEMORY = "memory of one suggestion above the imports"

Timing = tuple[str, int, list[float], dict[str, Any]]


def timings(cells: Sequence[Cell]) -> list[Timing]:
    """What, number of cells, times in ms, and notes: each player on `cells`, ours on many pairs too, and its memory."""
    # Ax begins at the centre unless a cell is there.
    cells = [cells[0].model_copy(update={"pressure_kpa": FIRST_KPA}), *cells[1:]]
    many = among_pairs(PAIRS, CELLS_A_PAIR)
    [peak] = in_own_process(memory_mb, cells)
    return [
        *(timing(entrant, cells) for entrant in (OURS, *ENTRANTS) if entrant.packages),
        (f"{SUGGESTION}, one of {PAIRS} pairs: ours", len(many), answers(OURS, many), {}),
        (MEMORY, len(cells), [], {"peak MB": peak}),
    ]


def timing(entrant: Entrant, cells: Sequence[Cell]) -> Timing:
    """One player."""
    what = f"{SUGGESTION}: {entrant.name}"
    if versions(entrant) is None:
        return what, len(cells), [], {"note": f"left out: {entrant.packages[0]} is not installed"}
    return what, len(cells), answers(entrant, cells), {}


def answers(entrant: Entrant, cells: Sequence[Cell]) -> list[float]:
    """Times in ms, after one to warm up, each of a player made anew."""
    return [answer(entrant, cells, seed) for seed in range(REPEATS + 1)][1:]


def answer(entrant: Entrant, cells: Sequence[Cell], seed: int) -> float:
    """Time of one answer in ms: the last cell stands where the player asked for it, as Ax looks at what it has been told
    only after it has been asked once."""
    player = entrant.make(seeded(seed))
    *before, last = cells
    [asked] = player.ask(before, 1)
    cells = [*before, last.model_copy(update={"pressure_kpa": asked})]
    if isinstance(player, Peer):
        player.tell(cells)
    start = time.perf_counter()
    player.ask(cells, 1)
    return 1000 * (time.perf_counter() - start)


def seeded(seed: int) -> Case:
    """A case that gives a player its prior and seed, and no history."""
    return replace(draw_case("well-specified", 0, 0), seed=seed)


def among_pairs(pairs: int, cells: int) -> list[Cell]:
    """Cells of the pair that is searched, and of others."""
    names = [CONDITION.electrode_pair, *SOURCES, *(f"Zn||X{number}" for number in range(pairs - 1 - len(SOURCES)))]
    return [
        cell.model_copy(update={"cell_id": f"{name} {cell.cell_id}", "electrode_pair": name})
        for seed, name in enumerate(names)
        for cell in world(cells, seed=seed)
    ]


def memory_mb(cells: Sequence[Cell]) -> list[float]:
    """Peak memory in MB of a first fit and suggestion, above that after the imports."""
    import pandas  # noqa: F401  it is imported for the answer's table

    before = peak_mb()
    suggest(fit(cells), CONDITION)
    return [peak_mb() - before]


def peak_mb() -> float:
    """The highest memory of this process so far; getrusage, where it is the only source, counts a parent's before exec too."""
    status = Path("/proc/self/status")
    if status.exists():
        [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(peak) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def in_own_process(work: Callable[[Sequence[Cell]], list[float]], cells: Sequence[Cell]) -> list[float]:
    """`work` on `cells` in a fresh process on one thread."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=one_thread_each) as pool:
        return pool.submit(work, cells).result()
