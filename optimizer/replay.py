"""Decisions played again or ahead: what another policy would have said of a recorded campaign, and how many cells a campaign
takes before its first is built.

A policy is a bench, a goal and a prior. Both functions are one independent task a step or a simulated campaign, so
`mapper` may be the built-in map, an executor's, or that of a Dask cluster; the answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from optimizer.advice import Verdict
from optimizer.goal import Goal
from optimizer.rig import Rig
from optimizer.suggestion import propose
from surrogates.cells import Cell, Condition
from surrogates.errors import UserError
from surrogates.gp import one_thread, tensor
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import Outcome
from surrogates.prior import Prior
from surrogates.propagation import ODD_SD, ODD_SHIFT
from surrogates.surrogate import Surrogate, fit, log_current

MOST_SIMULATED = 10_000
NEAR = 0.05

Mapper = Callable[..., Iterable[Any]]


@dataclass(frozen=True)
class Policy:
    """How cells are chosen."""

    rig: Rig = field(default_factory=Rig)
    goal: Goal = field(default_factory=Goal)
    prior: Prior = field(default_factory=Prior.default)


@dataclass(frozen=True)
class Step:
    """What a policy says once `cells` of a campaign are known, and at which pressure the next was in fact built (None
    after the last)."""

    cells: int
    suggested_kpa: float
    gain: float
    verdict: Verdict
    best_kpa: float
    interval_kpa: tuple[float, float]
    built_kpa: float | None


def replay(
    cells: Sequence[Cell],
    condition: Condition,
    policy: Policy,
    history: Sequence[Cell] = (),
    seed: int = 0,
    mapper: Mapper = map,
) -> list[Step]:
    """What `policy` would have said before each cell of a recorded campaign, `cells` in the order in which they were
    built, and after the last; `history` are cells of others, known from the start. A cell that was running or planned is
    taken as what became of it."""
    own = [cell for cell in cells if condition.holds(cell)]
    others = [cell for cell in cells if not condition.holds(cell)]
    known = range(len(own) + 1)
    said = partial(_step, own, [*others, *history], condition, policy, seed)
    return list(mapper(said, known))


def stops_after(steps: Sequence[Step]) -> int | None:
    """The number of cells after which a policy first says that none more is worth it; None where it never does."""
    return next((step.cells for step in steps if step.verdict in ("stop", "no effect") and step.cells), None)


def _step(
    own: Sequence[Cell], others: Sequence[Cell], condition: Condition, policy: Policy, seed: int, known: int
) -> Step:
    surrogate = fit([*own[:known], *others], policy.goal.outcomes, policy.prior, seed)
    best = surrogate.optimum(condition, allowed_kpa=policy.rig.grid())
    [proposal, *_], _ = propose(surrogate, condition, policy.rig, 1, seed, goal=policy.goal)
    return Step(
        cells=known,
        suggested_kpa=proposal.pressure_kpa,
        gain=proposal.gain,
        verdict=proposal.verdict,
        best_kpa=best.pressure_kpa,
        interval_kpa=best.interval_kpa,
        built_kpa=own[known].pressure_kpa if known < len(own) else None,
    )


@dataclass(frozen=True)
class Plan:
    """Simulated campaigns: after 1, 2, ... cells, the share of the best outcome that the recommended pressure loses (mean,
    and 90th percentile), the share of campaigns within 5 % of the best, and the days on channels so far (mean; None where
    the outcome is no life in h)."""

    campaigns: int
    loss: tuple[float, ...]
    loss_90: tuple[float, ...]
    near: tuple[float, ...]
    days: tuple[float, ...] | None

    @property
    def cells_needed(self) -> int | None:
        """Cells after which half of the campaigns, and those after, are within 5 %; None where that takes more."""
        late = [count for count, share in enumerate(self.near, 1) if share < 0.5]
        return None if late and late[-1] == len(self.near) else (late[-1] if late else 0) + 1


def plan(
    condition: Condition,
    policy: Policy,
    cells: int,
    campaigns: int = 100,
    history: Sequence[Cell] = (),
    seed: int = 0,
    mapper: Mapper = map,
) -> Plan:
    """Campaigns of `cells` cells simulated before the first is built: each truth is drawn from what is believed now (the
    prior, and what `history` teaches), its cells scatter as believed, and the policy chooses them one by one.

    The plan is as good as the prior: a pair unlike all that it knows takes more cells. One outcome only.
    """
    if not 1 <= cells <= 50 or not 1 <= campaigns <= MOST_SIMULATED:
        raise UserError(
            f"plan: expected 1 to 50 cells and 1 to {MOST_SIMULATED} campaigns; found {cells}, {campaigns}."
        )
    if len(policy.goal.outcomes) > 1 or policy.goal.subject_to:
        raise UserError(
            "plan: expected one outcome without requirements; found more. Plan for the outcome that matters most."
        )
    played = partial(_simulated, condition, policy, tuple(history), cells, seed)
    found = list(mapper(played, range(campaigns)))
    loss, days = (np.array([game[i] for game in found]) for i in range(2))
    return Plan(
        campaigns=campaigns,
        loss=tuple(loss.mean(0).tolist()),
        loss_90=tuple(np.quantile(loss, 0.9, axis=0).tolist()),
        near=tuple((loss <= NEAR).mean(0).tolist()),
        days=tuple(days.mean(0).tolist()) if policy.goal.outcomes[0] == "cycle_life_h" else None,
    )


@dataclass(frozen=True)
class _World:
    """A truth drawn from what is believed: y and the scatter of one cell at each setting of the press."""

    grid: tuple[float, ...]
    curve: np.ndarray
    scatter: np.ndarray
    odd: float

    @classmethod
    def drawn(cls, surrogate: Surrogate, condition: Condition, grid: tuple[float, ...], seed: int) -> _World:
        generator = torch.Generator().manual_seed(seed)
        x, u = tensor(log_pressure(grid)), tensor(log_current(condition))
        with one_thread():
            truth = surrogate.prior_curve(condition).thinned(1, generator)
            curve, scatter = truth.draws(x, u, 1, generator)[0], truth.scatter_variance(x, u)[0].sqrt()
        return cls(grid, curve.numpy(), scatter.numpy(), truth.odd)

    def cell(self, pressure_kpa: float, generator: np.random.Generator) -> float:
        """y of one cell."""
        at = self.grid.index(pressure_kpa)
        y = self.curve[at] + self.scatter[at] * generator.standard_normal()
        return float(y + (ODD_SHIFT + ODD_SD * generator.standard_normal()) * (generator.uniform() < self.odd))


def _simulated(
    condition: Condition, policy: Policy, history: Sequence[Cell], cells: int, seed: int, number: int
) -> tuple[list[float], list[float]]:
    """Loss and days so far after each cell of one simulated campaign."""
    name = policy.goal.outcomes[0]
    generator = np.random.default_rng([seed, number])
    before = fit(history, name, policy.prior, seed)
    world = _World.drawn(before, condition, policy.rig.grid(), int(generator.integers(2**31)))
    outcome, built, loss, hours = before.outcome_of(condition), list[Cell](), list[float](), 0.0
    days = []
    for count in range(cells):
        surrogate = fit([*built, *history], name, policy.prior, number)
        [proposal, *_], _ = propose(surrogate, condition, policy.rig, 1, number, goal=policy.goal)
        y = world.cell(proposal.pressure_kpa, generator)
        built.append(_built(outcome, condition, policy.rig, proposal.pressure_kpa, y, count))
        hours += built[-1].cycle_life_h or 0.0
        best = fit([*built, *history], name, policy.prior, number).optimum(condition, allowed_kpa=world.grid)
        loss.append(float(1 - np.exp(world.curve[world.grid.index(best.pressure_kpa)] - world.curve.max())))
        days.append(hours / 24)
    return loss, days


def _built(outcome: Outcome, condition: Condition, rig: Rig, pressure_kpa: float, y: float, number: int) -> Cell:
    value = float(outcome.from_y(y))
    alive = outcome.name == "cycle_life_h" and rig.max_test_h is not None and value > rig.max_test_h
    row: dict[str, Any] = {
        **condition.model_dump(exclude={"retention_cycles"}),
        "cell_id": f"simulated {number}",
        "pressure_kpa": pressure_kpa,
        "status": "stopped" if alive else "ended",
        outcome.name: rig.max_test_h if alive else value,
    }
    if outcome.name == "capacity_retention":
        row["retention_cycles"] = outcome.retention_cycles
    if outcome.name == "coulombic_efficiency":
        row["ce_protocol"] = "per_cycle_mean"
    return Cell.model_validate(row)
