"""A search for the best pressure, played cell by cell on a world with known truth.

Every player gets the same worlds, the same first cell (at the middle of the range in ln(kPa), where Ax too begins by
default), and for the k-th cell the same draw of scatter. It says where to build the next cells, and which pressure it would
recommend now.

regret      share of the best median life in the range that the recommended pressure loses
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from surrogates import Cell

from ..worlds import cells_from
from .running import FIRST_SEED
from .worlds import FAMILIES, GRID, HIGH, LOW, Case, draw_case

CELLS = 10
FIRST_KPA = math.sqrt(LOW * HIGH)
SCATTER_STREAM, BUDGET_STREAM = 4, 5
BUDGET_CELLS = 400


@dataclass(frozen=True)
class World:
    """What is played on: the truth with its history and prior, ln of each cell's life over the median by number, and the
    longest test in h (None: every cell is run to its end)."""

    case: Case
    scatter: tuple[float, ...]
    budget_h: float | None = None

    def build(self, number: int, pressure_kpa: float) -> Cell:
        """The cell of this number, built at a pressure and cycled."""
        log_life = float(self.case.truth.log_life(pressure_kpa)) + self.scatter[number]
        alive = self.budget_h is not None and log_life > math.log(self.budget_h)
        shown = math.log(self.budget_h) if alive and self.budget_h else log_life
        [cell] = cells_from([pressure_kpa], [shown], "stopped" if alive else "ended")
        return cell.model_copy(update={"cell_id": f"cell {number}"})

    def regret(self, pressure_kpa: float) -> float:
        """Share of the best median life that is lost at a pressure."""
        truth = self.case.truth
        return float(1 - np.exp(truth.log_life(pressure_kpa) - truth.log_life(GRID).max()))


def draw_world(family: str, number: int, censored: float = 0.0) -> World:
    """World `number` of a family; `censored`: share of cells at random pressures that outlive the longest test."""
    case = draw_case(family, number, 0)
    scatter, budget = (
        np.random.default_rng([FIRST_SEED + number, list(FAMILIES).index(family), stream])
        for stream in (SCATTER_STREAM, BUDGET_STREAM)
    )
    longest = None
    if censored:
        lives = [cell.cycle_life_h or math.nan for cell in case.truth.cells(BUDGET_CELLS, budget)]
        longest = float(np.quantile(lives, 1 - censored))
    return World(case, tuple(case.truth.scatter(4 * CELLS, scatter)), longest)


class Player(Protocol):
    """Chooses cells of one world; made anew for each."""

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        """Where to build the next `n` cells, in kPa, after these have been measured."""

    def recommend(self, cells: Sequence[Cell]) -> float:
        """The pressure to use from now on, in kPa."""


@dataclass
class Record:
    """How a game went: recommendation and its regret after 1, 2, ... cells; seconds of each question."""

    pressures: list[float] = field(default_factory=list)
    regrets: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)


def play(world: World, player: Player, cells: int = CELLS, batch: int = 1) -> Record:
    """A game of `cells` cells. Played one by one, the first is the common one; in batches a player chooses all of them."""
    record, built = Record(), list[Cell]()
    while len(built) < cells:
        n = min(batch, cells - len(built))
        if built or batch > 1:
            start = time.perf_counter()
            asked = player.ask(built, n)
            record.seconds.append(time.perf_counter() - start)
        else:
            asked = [FIRST_KPA]
        built += [world.build(len(built) + i, pressure) for i, pressure in enumerate(asked)]
        best = player.recommend(built)
        record.pressures += asked
        record.regrets.append(world.regret(best))
        record.said.append(getattr(player, "verdict", None))
    return record
