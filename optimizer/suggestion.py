"""Which pressure to test next, and what to say about it.

Decision rule: the pressure with the largest expected gain of the final choice (optimizer.acquisition); for a batch the
cells are chosen one after another, each with those before it pending. Planned and running cells of the table are
pending from the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from optimizer import reasons
from optimizer.acquisition import gains, pending_posteriors
from optimizer.advice import Advice, Best, Candidate, Curve, Proposal, Verdict
from optimizer.rig import Rig, check_rig
from surrogates.cells import Condition, check_condition
from surrogates.errors import UserError
from surrogates.gp import one_thread, tensor
from surrogates.mechanisms import log_pressure
from surrogates.surrogate import Agreement, Optimum, Surrogate, log_current, pressure_grid

if TYPE_CHECKING:
    import pandas as pd

STOP_GAIN = 0.01
MOST_CELLS = 50
GRID_POINTS = 61
CURVE_POINTS = 81
RANKED = 10
MODES_PRESSURES, MODES_WEIGHT = 3, 0.5


@dataclass
class _Pending:
    """Cells without a final result: ln pressure, ln current, and what a running cell has outlived."""

    x: list[float] = field(default_factory=list)
    u: list[float] = field(default_factory=list)
    bounds: list[float | None] = field(default_factory=list)

    def add(self, pressure_kpa: float, u: float, bound: float | None = None) -> None:
        self.x.append(float(log_pressure(pressure_kpa)))
        self.u.append(u)
        self.bounds.append(bound)


def suggest(
    surrogate: Surrogate,
    condition: Condition | Mapping[str, Any],
    pressure_kpa: tuple[float, float] = (10.0, 2000.0),
    n: int = 1,
    seed: int = 0,
    step_kpa: float | None = None,
    allowed_kpa: Sequence[float] | None = None,
) -> pd.DataFrame:
    """The next `n` cells to build, one row each: pressure_kpa, median, lower, upper (the curve there, 90 %),
    cell_lower, cell_upper (the cell, 90 %), gain (expected rise of y at the final choice), verdict, reason.

    `pressure_kpa`, `step_kpa`, `allowed_kpa`: what the press can do. Raises `UserError` where that leaves no choice.
    """
    import pandas as pd

    rig = check_rig(pressure_kpa=pressure_kpa, step_kpa=step_kpa, allowed_kpa=allowed_kpa)
    proposals, _ = propose(surrogate, check_condition(condition), rig, n, seed)
    return pd.DataFrame([proposal.model_dump() for proposal in proposals], columns=list(Proposal.model_fields))


def advise(surrogate: Surrogate, condition: Condition, rig: Rig, n: int = 1, seed: int = 0) -> Advice:
    """Everything to tell about `condition`: the next `n` cells, the best pressure so far, how sure, and the curve."""
    best = surrogate.optimum(condition, allowed_kpa=rig.grid())
    proposals, candidates = propose(surrogate, condition, rig, n, seed, best)
    agreement, outcome = surrogate.agreement(condition), surrogate.outcome_of(condition)
    informed_by = surrogate.readings(condition)
    return Advice(
        condition=condition,
        outcome=outcome.name,
        retention_cycles=outcome.retention_cycles,
        cells_used=len(informed_by),
        censored=sum(item.censored for item in informed_by),
        proposals=tuple(proposals),
        best=Best(**{item.name: getattr(best, item.name) for item in fields(best) if item.name in Best.model_fields}),
        agreement=agreement.sentence if informed_by else "no cell has a result yet",
        modes=_modes(surrogate, condition, agreement),
        taught_by=reasons.taught_by(condition, surrogate.teachers(condition)),
        would_change=_would_change(surrogate, condition, rig, proposals[0], best),
        caution=reasons.caution(informed_by, best, agreement, outcome),
        candidates=candidates,
        curve=_curve(surrogate, condition, rig),
    )


def propose(
    surrogate: Surrogate, condition: Condition, rig: Rig, n: int, seed: int, best: Optimum | None = None
) -> tuple[list[Proposal], tuple[Candidate, ...]]:
    """The next `n` cells, and the pressures ranked for the first of them; `best` where the optimum is known already."""
    if not 1 <= n <= MOST_CELLS:
        raise UserError(f"n: expected 1 to {MOST_CELLS} cells; found {n}")
    best = best or surrogate.optimum(condition, allowed_kpa=rig.grid())
    pending = _pending(surrogate, condition)
    grid = _thin(rig.grid())
    proposals: list[Proposal] = []
    ranked: tuple[Candidate, ...] = ()
    for _ in range(n):
        gain = _gains(surrogate, condition, grid, pending, seed)
        first = int(gain.argmax())
        ranked = ranked or _ranked(grid, gain)
        proposals.append(_proposal(surrogate, condition, grid[first], float(gain[first]), best, len(pending.x)))
        pending.add(grid[first], log_current(condition))
    return proposals, ranked


def _gains(
    surrogate: Surrogate, condition: Condition, grid: Sequence[float], pending: _Pending, seed: int
) -> np.ndarray:
    x, u = tensor(log_pressure(grid)), tensor(log_current(condition))
    generator = torch.Generator().manual_seed(seed)
    posterior = surrogate.posterior(condition)
    with one_thread():
        futures = pending_posteriors(posterior, pending.x, pending.u, pending.bounds, generator)
        result: np.ndarray = gains(futures, x, x, u, seed).numpy()
    return result


def _pending(surrogate: Surrogate, condition: Condition) -> _Pending:
    outcome, pending = surrogate.outcome_of(condition), _Pending()
    for cell in surrogate.cells_of(condition):
        value = getattr(cell, outcome.name)
        if cell.status == "planned" or (cell.status == "running" and (outcome.is_life or value is None)):
            bound = outcome.to_y(value) if outcome.is_life and value is not None else None
            pending.add(cell.pressure_kpa, log_current(cell), bound)
    return pending


def _proposal(
    surrogate: Surrogate, condition: Condition, pressure_kpa: float, gain: float, best: Optimum, pending: int
) -> Proposal:
    tested = [item.cell.pressure_kpa for item in surrogate.readings(condition)]
    verdict = _verdict(pressure_kpa, gain, best, tested)
    curve = surrogate.curve(condition, [pressure_kpa])
    text = reasons.reason(verdict, pressure_kpa, gain, best, surrogate.outcome_of(condition), tested, pending)
    return Proposal(gain=gain, verdict=verdict, reason=text, **{name: float(value[0]) for name, value in curve.items()})


def _verdict(pressure_kpa: float, gain: float, best: Optimum, tested: Sequence[float]) -> Verdict:
    match best.verdict:
        case "no effect" | "edge: higher" | "edge: lower" as told:
            return told
    if gain < STOP_GAIN and tested:
        return "stop"
    return "repeat" if reasons.is_tested(pressure_kpa, tested) else "measure"


def _ranked(grid: Sequence[float], gain: np.ndarray) -> tuple[Candidate, ...]:
    order = np.argsort(-gain, kind="stable")[:RANKED]
    return tuple(Candidate(pressure_kpa=grid[i], gain=float(gain[i])) for i in order)


def _thin(grid: Sequence[float]) -> tuple[float, ...]:
    """At most GRID_POINTS of the settings, spread evenly in ln(kPa)."""
    if len(grid) <= GRID_POINTS:
        return tuple(grid)
    targets = np.linspace(math.log(grid[0]), math.log(grid[-1]), GRID_POINTS)
    nearest = np.abs(np.log(np.asarray(grid))[None, :] - targets[:, None]).argmin(1)
    return tuple(grid[i] for i in sorted(set(nearest.tolist())))


def _would_change(surrogate: Surrogate, condition: Condition, rig: Rig, proposal: Proposal, best: Optimum) -> str:
    if best.verdict == "no effect":
        return "a cell far off the others at any pressure would show that pressure matters after all"
    grid = rig.grid()
    x, u = tensor(log_pressure(grid)), tensor(log_current(condition))
    here, outcome = tensor([float(log_pressure(proposal.pressure_kpa))]), surrogate.outcome_of(condition)
    posterior = surrogate.posterior(condition)
    ends = []
    with one_thread():
        for value in (proposal.cell_lower, proposal.cell_upper):
            then = posterior.given(here, u, tensor([outcome.to_y(value)]))
            ends.append((value, grid[int((then.weights @ then.mean(x, u)).argmax())]))
    return reasons.would_change(outcome, proposal.pressure_kpa, best.pressure_kpa, ends[0], ends[1])


def _modes(surrogate: Surrogate, condition: Condition, agreement: Agreement) -> str:
    """What the cells die of at the lowest, middle and highest tested pressure, where the physics is believed."""
    tested = sorted({item.cell.pressure_kpa for item in surrogate.readings(condition)})
    if len(tested) < MODES_PRESSURES or agreement.prior_weight - agreement.no_effect < MODES_WEIGHT:
        return ""
    shown = [tested[0], tested[len(tested) // 2], tested[-1]]
    return reasons.modes(shown, surrogate.contact_share(condition, shown).tolist())


def _curve(surrogate: Surrogate, condition: Condition, rig: Rig) -> Curve:
    tested = [cell.pressure_kpa for cell in surrogate.cells_of(condition)]
    low, high = rig.pressure_kpa
    pressures = pressure_grid((min([low, *tested]), max([high, *tested])), CURVE_POINTS)
    after = surrogate.curve(condition, pressures)
    before = surrogate.curve(condition, pressures, surrogate.prior_curve(condition))
    modes = surrogate.modes(condition, pressures)
    columns = {
        **after,
        **{f"prior_{name}": before[name] for name in ("median", "lower", "upper")},
        **{f"{name}_mode": values for name, values in modes.items()},
    }
    return Curve(**{name: tuple(float(f"{value:.6g}") for value in values) for name, values in columns.items()})
