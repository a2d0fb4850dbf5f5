"""Cells without a final result: what they may turn out to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optimizer.rig import Rig
from surrogates.cells import Cell, Condition
from surrogates.gp import tensor
from surrogates.inference import Posterior
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import Outcome
from surrogates.surrogate import Surrogate, log_current

FANTASIES = 6
TRIES = 128


@dataclass(frozen=True)
class Pending:
    """A cell whose result is still to come: x = ln(P / 300 kPa), u = ln(current density).

    bound       y that a running cell has outlived; None for a planned one
    reading     number of that bound among the readings of its condition
    cell_id     whose it is; empty for a cell only promised
    """

    x: float
    u: float
    bound: float | None = None
    reading: int | None = None
    cell_id: str = ""

    @property
    def at(self) -> tuple[Tensor, Tensor]:
        """x and u, each of shape (1,)."""
        return tensor([self.x]), tensor([self.u])


def longest(rig: Rig, outcome: Outcome) -> float | None:
    """y at which a living cell is taken off; None where no test is, or where the outcome is not read in hours."""
    return outcome.to_y(rig.max_test_h) if rig.max_test_h is not None and outcome.name == "cycle_life_h" else None


def pending_cells(surrogate: Surrogate, condition: Condition, rig: Rig) -> tuple[Pending, ...]:
    """The planned and running cells of a condition that may still tell something of the outcome in view."""
    outcome, end = surrogate.outcome_of(condition), longest(rig, surrogate.outcome_of(condition))
    numbers = {item.cell.cell_id: number for number, item in enumerate(surrogate.readings(condition))}
    found = (_pending(cell, outcome, numbers) for cell in surrogate.cells_of(condition))
    return tuple(item for item in found if item and (end is None or item.bound is None or item.bound < end))


def _pending(cell: Cell, outcome: Outcome, numbers: dict[str, int]) -> Pending | None:
    value = getattr(cell, outcome.name)
    if cell.status not in ("planned", "running") or (cell.status == "running" and not outcome.is_life and value):
        return None
    at = float(log_pressure(cell.pressure_kpa)), log_current(cell)
    if cell.status == "planned" or value is None:
        return Pending(*at, cell_id=cell.cell_id)
    return Pending(*at, outcome.to_y(value), numbers[cell.cell_id], cell.cell_id)


def futures(
    posterior: Posterior, cells: Sequence[Pending], end: float | None, generator: torch.Generator
) -> list[Posterior]:
    """The posterior as it may be once pending cells have ended: one for each imagined set of their readings.

    A running cell's bound is taken out before its reading above it is imagined. `end`: y at which a living cell is taken
    off. Without pending cells the list holds `posterior` alone.
    """
    found = [posterior] * (FANTASIES if cells else 1)
    for cell in cells:
        readings = imagined(_before(posterior, cell), cell, len(found), generator)
        found = [_ended(_before(future, cell), cell, y, end) for future, y in zip(found, readings, strict=True)]
    return found


def _before(posterior: Posterior, cell: Pending) -> Posterior:
    """The posterior without what a running cell has said so far."""
    return posterior if cell.reading is None else posterior.without(cell.reading, *cell.at)


def _ended(future: Posterior, cell: Pending, reading: float, end: float | None) -> Posterior:
    alive = end is not None and reading > end
    return future.given(*cell.at, tensor([end if alive else reading]), alive=alive)


def imagined(posterior: Posterior, cell: Pending, count: int, generator: torch.Generator) -> list[float]:
    """`count` readings of a cell, spread evenly over their distribution above its bound, in random order."""
    x, u = cell.at
    curve = posterior.draws(x, u, TRIES, generator)[:, 0]
    scatter = (posterior.weights @ posterior.scatter_variance(x, u)).sqrt()
    readings = (curve + scatter * torch.randn(TRIES, generator=generator, dtype=curve.dtype)).sort().values
    if cell.bound is not None:
        above = readings[readings > cell.bound]
        readings = above if len(above) else tensor([cell.bound])
    levels = (torch.arange(count) + 0.5) / count * len(readings)
    spread = readings[levels.long().clamp_max(len(readings) - 1)]
    return [float(value) for value in spread[torch.randperm(count, generator=generator)]]
