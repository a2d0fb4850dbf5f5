"""What a cell at each setting of the press is worth, for a goal, with the cells that are still to come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from optimizer.acquisition import (
    PARTICLES,
    compromise_gradient,
    feasibility,
    feasibility_gradient,
    held_curve,
    knowledge_gradient,
    log_probability,
)
from optimizer.goal import Goal, Requirement
from optimizer.pending import Pending, futures, longest, pending_cells
from optimizer.rig import Rig
from surrogates.cells import Condition
from surrogates.gp import one_thread, tensor
from surrogates.inference import Posterior
from surrogates.mechanisms import log_pressure
from surrogates.surrogate import Surrogate, held, log_current

GRID_POINTS = 61
COARSE = 2
HOURS_A_DAY = 24.0
SHORTEST_DAYS = 0.25


@dataclass(frozen=True)
class Question:
    """Where to build the next cell of a condition. Nothing in it changes; what is found is found once."""

    surrogate: Surrogate
    condition: Condition
    rig: Rig
    goal: Goal
    seed: int

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """The settings considered, kPa: at most GRID_POINTS, spread evenly in ln(kPa)."""
        return _thin(self.rig.grid())

    @cached_property
    def worth(self) -> np.ndarray:
        """ln of the probability that each setting meets every requirement: (G,)."""
        return self.feasible(self.grid)

    def feasible(self, pressure_kpa: Sequence[float]) -> np.ndarray:
        """The same at other settings."""
        choices = self._held(pressure_kpa)
        total = torch.zeros(len(choices), dtype=choices.dtype)
        with one_thread():
            for required in self.goal.subject_to:
                posterior, least = self._required(required)
                total += log_probability(feasibility(posterior, choices, self._u, least, required.margin))
        return np.asarray(total.numpy())

    def beside(self, pressure_kpa: Sequence[float]) -> list[float] | None:
        """What counts at each setting beside the y of the first outcome; None where nothing does."""
        if not self.goal.subject_to and len(self.goal.outcomes) == 1:
            return None
        choices, posterior = self._held(pressure_kpa), self.surrogate.posterior(self.condition)
        with one_thread():
            first = posterior.weights @ held_curve(posterior, choices, self._u)
            beside = self._utility(choices) - first + tensor(self.feasible(pressure_kpa))
        return [float(value) for value in beside]

    @cached_property
    def pending(self) -> tuple[Pending, ...]:
        """Planned and running cells."""
        return pending_cells(self.surrogate, self.condition, self.rig)

    def gains(self, more: Sequence[float] = (), replicates: int = 1) -> np.ndarray:
        """Expected gain of a cell (or of `replicates` under one pressure) at each setting of the grid, while cells at
        `more` pressures are promised too: (G,). Between every other setting and the best one's neighbours it is
        interpolated."""
        with one_thread():
            coarse = sorted({*range(0, len(self.grid), COARSE), len(self.grid) - 1})
            found = dict(zip(coarse, self._gains(coarse, more, replicates), strict=True))
            best = max(coarse, key=found.__getitem__)
            near = [i for i in (best - 1, best + 1) if 0 <= i < len(self.grid) and i not in found]
            if near:
                found |= dict(zip(near, self._gains(near, more, replicates), strict=True))
        x = log_pressure(self.grid)
        known = sorted(found)
        return np.asarray(np.interp(x, x[known], [found[i] for i in known]))

    def _gains(self, candidates: Sequence[int], more: Sequence[float], replicates: int) -> list[float]:
        at = tensor(log_pressure([self.grid[i] for i in candidates]))
        rounds = zip(*(self._futures(name, more) for name in self.goal.outcomes), strict=True)
        total = torch.stack([self._gain(posteriors, at, replicates) for posteriors in rounds]).mean(0)
        for required in self.goal.subject_to:
            total = total + self._told_of(required, at)
        return [float(value) for value in total]

    def _gain(self, posteriors: Sequence[Posterior], at: Tensor, replicates: int) -> Tensor:
        """The gain in one imagined future."""
        worth = tensor(self.worth)
        ends = [longest(self.rig, self._of(name).outcome_of(self.condition)) for name in self.goal.outcomes]
        if len(posteriors) == 1:
            return knowledge_gradient(
                posteriors[0], self._choices, at, self._u, replicates=replicates, longest=ends[0], worth=worth
            )
        return compromise_gradient(
            posteriors, self._choices, at, self._u, replicates=replicates, longest=ends, worth=worth
        )

    @cached_property
    def utility(self) -> Tensor:
        """What each setting is expected to be worth as the final choice, requirements aside: the mean of the
        expected y of its outcomes: (G,)."""
        return self._utility(self._choices)

    def _utility(self, choices: Tensor) -> Tensor:
        curves = []
        for name in self.goal.outcomes:
            posterior = self._of(name).posterior(self.condition)
            curves.append(posterior.weights @ held_curve(posterior, choices, self._u))
        return torch.stack(curves).mean(0)

    def _told_of(self, required: Requirement, at: Tensor) -> Tensor:
        """What a cell tells of whether a requirement is met."""
        posterior, least = self._required(required)
        curve = self.utility
        own = log_probability(feasibility(posterior, self._choices, self._u, least, required.margin))
        others = tensor(self.worth) - own
        return feasibility_gradient(
            self._thinned(posterior), self._choices, at, self._u, least, required.margin, curve + others
        )

    def _required(self, required: Requirement) -> tuple[Posterior, float]:
        """The posterior of a required outcome, and the bar as y."""
        surrogate = self._of(required.outcome)
        return surrogate.posterior(self.condition), surrogate.outcome_of(self.condition).to_y(required.least)

    def _futures(self, name: str, more: Sequence[float]) -> list[Posterior]:
        surrogate = self._of(name)
        end = longest(self.rig, surrogate.outcome_of(self.condition))
        cells = [*pending_cells(surrogate, self.condition, self.rig), *self._promised(more)]
        generator = torch.Generator().manual_seed(self.seed)
        found = futures(surrogate.posterior(self.condition), cells, end, generator)
        return [self._thinned(future) for future in found]

    def _promised(self, more: Sequence[float]) -> list[Pending]:
        return [Pending(float(log_pressure(p)), log_current(self.condition)) for p in more]

    def _thinned(self, posterior: Posterior) -> Posterior:
        return posterior.thinned(PARTICLES, torch.Generator().manual_seed(self.seed))

    def _of(self, name: str) -> Surrogate:
        return self.surrogate if name == self.surrogate.outcome else self.surrogate.of(name)

    @cached_property
    def _choices(self) -> Tensor:
        return self._held(self.grid)

    def _held(self, pressure_kpa: Sequence[float]) -> Tensor:
        return held(pressure_kpa, self.rig.tolerances(pressure_kpa))

    @cached_property
    def _u(self) -> Tensor:
        return tensor(log_current(self.condition))

    def days(self, pressure_kpa: Sequence[float], reached_h: float = 0.0) -> np.ndarray:
        """Expected days that a new cell at each pressure is on a channel, to its end or the longest test; of a cell that
        has lived `reached_h` already, the days to come: (n,).

        With ln T normal, m and s: E[min(T, c)] = exp(m + s^2 / 2) Phi((ln c - m - s^2) / s) + c Phi((m - ln c) / s),
        over the mixture of what a cell may live.
        """
        surrogate = self._of("cycle_life_h")
        x = tensor(log_pressure(pressure_kpa))
        posterior = surrogate.posterior(self.condition)
        with one_thread():
            mean = posterior.mean(x, self._u)
            variance = posterior.variance(x, self._u) + posterior.scatter_variance(x, self._u)
            hours = posterior.weights @ _life_to_come(mean, variance.sqrt(), reached_h, self.rig.max_test_h)
        return np.asarray((hours / HOURS_A_DAY).clamp_min(SHORTEST_DAYS).numpy())


def _life_to_come(mean: Tensor, sd: Tensor, reached: float, end: float | None) -> Tensor:
    """E[min(T, end) - reached | T > reached] for ln T normal."""
    ceiling = _least_of(mean, sd, end)
    if not reached:
        return ceiling
    alive: Tensor = torch.special.ndtr((mean - math.log(reached)) / sd).clamp_min(1e-6)
    return ((ceiling - _least_of(mean, sd, reached)) / alive).clamp_min(0.0)


def _least_of(mean: Tensor, sd: Tensor, end: float | None) -> Tensor:
    """E[min(T, end)] for ln T normal."""
    whole = torch.exp((mean + sd**2 / 2).clamp_max(60.0))
    if end is None:
        return whole
    d = (math.log(end) - mean) / sd
    found: Tensor = whole * torch.special.ndtr(d - sd) + end * torch.special.ndtr(-d)
    return found


def _thin(grid: Sequence[float]) -> tuple[float, ...]:
    """At most GRID_POINTS of the settings, spread evenly in ln(kPa)."""
    if len(grid) <= GRID_POINTS:
        return tuple(grid)
    targets = np.linspace(math.log(grid[0]), math.log(grid[-1]), GRID_POINTS)
    nearest = np.abs(np.log(np.asarray(grid))[None, :] - targets[:, None]).argmin(1)
    return tuple(grid[i] for i in sorted(set(nearest.tolist())))
