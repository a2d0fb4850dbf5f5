"""Several outcomes over one pressure: which pressures are not beaten in all of them, and the best compromise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optimizer.advice import Tradeoff
from optimizer.gain import Question
from surrogates.gp import one_thread, tensor
from surrogates.surrogate import averaged, held, log_current

DRAWS = 1000
DIGITS = 4


def tradeoff(question: Question) -> Tradeoff | None:
    """How the outcomes of a goal trade over pressure; None for one outcome."""
    names = question.goal.outcomes
    if len(names) == 1:
        return None
    grid, surrogates = question.grid, [question.surrogate.of(name) for name in names]
    x, u = held(grid, question.rig.tolerances(grid)), tensor(log_current(question.condition))
    expected, draws = [], []
    with one_thread():
        for number, surrogate in enumerate(surrogates):
            posterior, generator = surrogate.posterior(question.condition), torch.Generator().manual_seed(number)
            expected.append(posterior.weights @ averaged(posterior.mean(x.flatten(), u), x))
            draws.append(averaged(posterior.draws(x.flatten(), u, DRAWS, generator), x))
        unbeaten = not_dominated(torch.stack(draws)).double().mean(0)
    best = int((question.utility + tensor(question.worth)).argmax())
    outcomes = [surrogate.outcome_of(question.condition) for surrogate in surrogates]
    return Tradeoff(
        outcomes=names,
        pressure_kpa=grid,
        median=tuple(
            _rounded(outcome.from_y(curve.numpy()).tolist()) for outcome, curve in zip(outcomes, expected, strict=True)
        ),
        unbeaten=_rounded(unbeaten),
        compromise_kpa=grid[best],
        own_best_kpa=tuple(grid[int(curve.argmax())] for curve in expected),
        loss=tuple(float(1 - torch.exp(curve[best] - curve.amax())) for curve in expected),
    )


def not_dominated(values: Tensor) -> Tensor:
    """Whether no other point is at least as good in every outcome and better in one; values (K, ..., G), larger is
    better: (..., G)."""
    at, other = values[..., :, None], values[..., None, :]
    return ~((other >= at).all(0) & (other > at).any(0)).any(-1)


def _rounded(values: Sequence[float] | Tensor) -> tuple[float, ...]:
    return tuple(float(f"{float(value):.{DIGITS}g}") for value in values)
