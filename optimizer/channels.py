"""Channels of the cycler: is a running cell still worth its own?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from optimizer import reasons
from optimizer.acquisition import held_curve
from optimizer.advice import Stopping
from optimizer.gain import Question
from optimizer.goal import Goal
from optimizer.pending import futures, longest, pending_cells
from optimizer.rig import Rig
from surrogates.cells import Cell, Condition, check_condition
from surrogates.errors import UserError
from surrogates.gp import one_thread, tensor
from surrogates.surrogate import Surrogate, held, log_current

ROUNDS = 8


def should_stop(
    surrogate: Surrogate,
    condition: Condition | Mapping[str, Any],
    cell_id: str,
    rig: Rig | None = None,
    goal: Goal | None = None,
    seed: int = 0,
) -> Stopping:
    """Whether a running cell should give its channel to a new one.

    What is still to be learned from the running cell (the expected gain of the final choice by its result), for each day
    it is expected to go on, is held against the same of the best new cell on that channel. Raises `UserError` where the
    cell is not running.
    """
    condition, rig = check_condition(condition), rig or Rig()
    goal = goal or Goal(outcomes=(surrogate.outcome,))
    cell = _running(surrogate, condition, cell_id)
    stopped = _with(surrogate, cell.model_copy(update={"status": "stopped"}))
    question = Question(surrogate, condition, rig, goal, seed)
    without = Question(stopped, condition, rig, goal, seed)
    to_come = _gain_to_come(question, cell)
    gains = without.gains()
    first = int(gains.argmax())
    new_kpa, days_new = without.grid[first], float(without.days([without.grid[first]])[0])
    days = float(question.days([cell.pressure_kpa], cell.cycle_life_h or 0.0)[0])
    return _weighed(cell, to_come, days, new_kpa, float(gains[first]), days_new, goal)


def _weighed(
    cell: Cell, gain: float, days: float, new_kpa: float, gain_new: float, days_new: float, goal: Goal
) -> Stopping:
    idle = gain < goal.stop_gain and gain_new < goal.stop_gain
    stop = idle or gain / days < gain_new / days_new
    text = reasons.stopping(cell.cell_id, stop, idle, (gain, days), new_kpa, (gain_new, days_new))
    return Stopping(
        cell_id=cell.cell_id,
        stop=stop,
        gain_to_come=gain,
        days_to_come=days,
        new_pressure_kpa=new_kpa,
        gain_of_new=gain_new,
        days_of_new=days_new,
        reason=text,
    )


def _running(surrogate: Surrogate, condition: Condition, cell_id: str) -> Cell:
    found = {cell.cell_id: cell for cell in surrogate.cells_of(condition)}
    cell = found.get(cell_id)
    if cell is None or cell.status != "running":
        running = ", ".join(name for name, item in found.items() if item.status == "running") or "none"
        raise UserError(
            f"cell {cell_id}: expected a running cell of {condition}; found "
            f"{'no such cell' if cell is None else f'one that is {cell.status}'}. Running: {running}."
        )
    return cell


def _with(surrogate: Surrogate, cell: Cell) -> Surrogate:
    """The surrogate of the table with one row changed."""
    cells = tuple(cell if other.cell_id == cell.cell_id else other for other in surrogate.cells)
    return Surrogate(cells, surrogate.outcome, surrogate.prior, surrogate.seed, surrogate.informed_by)


def _gain_to_come(question: Question, cell: Cell) -> float:
    """Expected rise of the final choice by the result of a running cell, averaged over what it may be."""
    name = question.goal.outcomes[0]
    surrogate = question.surrogate.of(name)
    posterior, outcome = surrogate.posterior(question.condition), surrogate.outcome_of(question.condition)
    pending = pending_cells(surrogate, question.condition, question.rig)
    mine = [item for item in pending if item.cell_id == cell.cell_id]
    if not mine:
        return 0.0
    end = longest(question.rig, outcome)
    choices = held(question.grid, question.rig.tolerances(question.grid))
    u, worth = tensor(log_current(question.condition)), tensor(question.worth)
    generator, gains = torch.Generator().manual_seed(question.seed), []
    with one_thread():
        now = int((posterior.weights @ held_curve(posterior, choices, u) + worth).argmax())
        for _ in range(ROUNDS):
            for future in futures(posterior, mine, end, generator):
                curve = future.weights @ held_curve(future, choices, u) + worth
                gains.append(float(curve.amax() - curve[now]))
    return sum(gains) / len(gains)
