"""Which pressure to test next, and what to say about it.

Decision rule: the pressure with the largest expected gain of the final choice (optimizer.acquisition), or with the largest
for each day on a channel; for a batch the cells are chosen one after another, each with those before it pending, or all
at one pressure where they share a press. Planned and running cells of the table are pending from the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer import reasons
from optimizer.advice import Advice, Behind, Best, Candidate, Curve, Proposal, Verdict
from optimizer.gain import Question
from optimizer.goal import Goal, check_goal
from optimizer.rig import MOST_CELLS, Rig, check_rig
from optimizer.several import tradeoff
from surrogates.cells import Condition, check_condition
from surrogates.errors import UserError
from surrogates.gp import one_thread, tensor
from surrogates.inference import HYPOTHESES
from surrogates.mechanisms import log_pressure
from surrogates.surrogate import Agreement, Optimum, Surrogate, log_current, pressure_grid

if TYPE_CHECKING:
    import pandas as pd

CURVE_POINTS = 81
RANKED = 10
MODES_PRESSURES, MODES_WEIGHT = 3, 0.5
ELSEWHERE = 1.25
OPTIONAL = ("days", "feasible")


def suggest(
    surrogate: Surrogate,
    condition: Condition | Mapping[str, Any],
    pressure_kpa: tuple[float, float] = (10.0, 2000.0),
    n: int | None = None,
    seed: int = 0,
    step_kpa: float | None = None,
    allowed_kpa: Sequence[float] | None = None,
    *,
    objective: str | Sequence[str] | None = None,
    subject_to: str | Sequence[str] = (),
    per: str = "cell",
    stop_gain: float | None = None,
    vary: Sequence[str] = ("pressure_kpa",),
    current_density: tuple[float, float] | None = None,
    electrolyte: Sequence[str] | None = None,
    **bench: Any,
) -> pd.DataFrame:
    """The next `n` cells to build, one row each: pressure_kpa, median, lower, upper (the curve there, 90 %),
    cell_lower, cell_upper (the cell, 90 %), gain (expected rise of y at the final choice), verdict, reason; with
    `per="channel-day"` days, with `subject_to` feasible.

    `pressure_kpa`, `step_kpa`, `allowed_kpa` and `bench` (tolerance_kpa, tolerance_percent, one_pressure, channels,
    max_test_h): what the bench can do (optimizer.Rig). `n`: default the channels that are free, one where they are not
    counted. `objective`: default the surrogate's outcome; several ask for the best compromise. `subject_to`, `per`,
    `stop_gain`: optimizer.Goal. `vary`: what else may be chosen (optimizer.vary): "current_density" between two ends,
    "electrolyte" among names; each row then says which. Raises `UserError` where that leaves no choice.
    """
    import pandas as pd

    rig = check_rig(pressure_kpa=pressure_kpa, step_kpa=step_kpa, allowed_kpa=allowed_kpa, **bench)
    condition = check_condition(condition)
    stop = {} if stop_gain is None else {"stop_gain": stop_gain}
    goal = check_goal(objective or surrogate.outcome, subject_to, per, **stop)
    if set(vary) != {"pressure_kpa"}:
        from optimizer.vary import suggest_varied

        varied: pd.DataFrame = suggest_varied(
            surrogate, condition, rig, goal, n or 1, seed, vary, current_density, electrolyte
        )
        return varied
    proposals, _ = propose(surrogate, condition, rig, n, seed, goal=goal)
    rows = [proposal.model_dump() for proposal in proposals]
    said = [name for name in Proposal.model_fields if name not in OPTIONAL or rows[0][name] is not None]
    return pd.DataFrame(rows, columns=said)


def advise(
    surrogate: Surrogate, condition: Condition, rig: Rig, n: int | None = None, seed: int = 0, goal: Goal | None = None
) -> Advice:
    """Everything to tell about `condition`: the next `n` cells, the best pressure so far, how sure, and the curve."""
    question = _question(surrogate, condition, rig, seed, goal)
    surrogate = question.surrogate
    best = _optimum(question)
    proposals, candidates = _propose(question, n, best)
    agreement, outcome = surrogate.agreement(condition), surrogate.outcome_of(condition)
    informed_by = surrogate.readings(condition)
    behind = _behind(question, proposals[0], candidates)
    return Advice(
        condition=condition,
        outcome=outcome.name,
        retention_cycles=outcome.retention_cycles,
        cells_used=len(informed_by),
        censored=sum(item.censored for item in informed_by),
        proposals=tuple(proposals),
        best=_best(question, best),
        agreement=agreement.sentence if informed_by else "no cell has a result yet",
        modes=_modes(surrogate, condition, agreement),
        taught_by=reasons.taught_by(condition, surrogate.teachers(condition)),
        would_change=_would_change(surrogate, condition, rig, proposals[0], best),
        caution=reasons.caution(informed_by, best, agreement, outcome),
        candidates=candidates,
        curve=_curve(surrogate, condition, rig),
        runner_up=reasons.runner_up(behind.runner_up, proposals[0].gain),
        prior_added=reasons.prior_added(best, behind) if informed_by else "",
        channels=reasons.channels(rig.channels, occupied(surrogate, condition)),
        behind=behind,
        tradeoff=tradeoff(question),
        foretold_better=agreement.foretold_better,
    )


def propose(
    surrogate: Surrogate,
    condition: Condition,
    rig: Rig,
    n: int | None,
    seed: int,
    best: Optimum | None = None,
    goal: Goal | None = None,
) -> tuple[list[Proposal], tuple[Candidate, ...]]:
    """The next `n` cells, and the pressures ranked for the first of them; `best` where the optimum is known already."""
    question = _question(surrogate, condition, rig, seed, goal)
    return _propose(question, n, best or _optimum(question))


def occupied(surrogate: Surrogate, condition: Condition) -> int:
    """Channels that planned and running cells of a condition take."""
    return sum(cell.status in ("planned", "running") for cell in surrogate.cells_of(condition))


def _question(surrogate: Surrogate, condition: Condition, rig: Rig, seed: int, goal: Goal | None) -> Question:
    goal = goal or Goal(outcomes=(surrogate.outcome,))
    first = surrogate if surrogate.outcome == goal.outcomes[0] else surrogate.of(goal.outcomes[0])
    return Question(first, condition, rig, goal, seed)


def _optimum(question: Question) -> Optimum:
    """The best setting for the goal, told of its first outcome."""
    grid = question.rig.grid()
    return question.surrogate.optimum(
        question.condition,
        allowed_kpa=grid,
        tolerance_kpa=question.rig.tolerances(grid),
        worth=question.beside(grid),
    )


def _propose(question: Question, n: int | None, best: Optimum) -> tuple[list[Proposal], tuple[Candidate, ...]]:
    n = _count(question, n)
    together = question.rig.one_pressure
    chosen: list[float] = []
    proposals: list[Proposal] = []
    ranked: tuple[Candidate, ...] = ()
    while len(proposals) < n:
        gain = question.gains(chosen, n if together else 1)
        first = int(_rate(question, gain).argmax())
        pressure_kpa, count = question.grid[first], n if together else 1
        ranked = ranked or _ranked(question.grid, gain)
        found = _proposal(question, pressure_kpa, float(gain[first]), best, len(question.pending) + len(chosen))
        proposals += [found] * count
        chosen += [pressure_kpa] * count
    return proposals, ranked


def _count(question: Question, n: int | None) -> int:
    """How many cells: as asked, else as channels are free, else one."""
    if n is None:
        channels = question.rig.channels
        free = 1 if channels is None else channels - occupied(question.surrogate, question.condition)
        n = min(max(free, 1), MOST_CELLS)
    if not 1 <= n <= MOST_CELLS:
        raise UserError(f"n: expected 1 to {MOST_CELLS} cells; found {n}")
    return n


def _rate(question: Question, gain: np.ndarray) -> np.ndarray:
    return gain / question.days(question.grid) if question.goal.per == "channel-day" else gain


def _proposal(question: Question, pressure_kpa: float, gain: float, best: Optimum, pending: int) -> Proposal:
    surrogate, condition = question.surrogate, question.condition
    tested = [item.cell.pressure_kpa for item in surrogate.readings(condition)]
    verdict = _verdict(pressure_kpa, gain, best, tested, question.goal.stop_gain)
    curve = surrogate.curve(condition, [pressure_kpa])
    days = float(question.days([pressure_kpa])[0]) if question.goal.per == "channel-day" else None
    text = reasons.reason(verdict, pressure_kpa, gain, best, surrogate.outcome_of(condition), tested, pending, days)
    values = {name: float(value[0]) for name, value in curve.items()}
    feasible = _feasible(question, pressure_kpa)
    return Proposal(gain=gain, verdict=verdict, reason=text, days=days, feasible=feasible, **values)


def _feasible(question: Question, pressure_kpa: float) -> float | None:
    return float(np.exp(question.feasible([pressure_kpa])[0])) if question.goal.subject_to else None


def _best(question: Question, best: Optimum) -> Best:
    known = {item.name: getattr(best, item.name) for item in fields(best) if item.name in Best.model_fields}
    return Best(**known, feasible=_feasible(question, best.pressure_kpa))


def _verdict(pressure_kpa: float, gain: float, best: Optimum, tested: Sequence[float], stop_gain: float) -> Verdict:
    match best.verdict:
        case "no effect" | "edge: higher" | "edge: lower" as told:
            return told
    if gain < stop_gain and tested:
        return "stop"
    return "repeat" if reasons.is_tested(pressure_kpa, tested) else "measure"


def _ranked(grid: Sequence[float], gain: np.ndarray) -> tuple[Candidate, ...]:
    order = np.argsort(-gain, kind="stable")[:RANKED]
    return tuple(Candidate(pressure_kpa=grid[i], gain=float(gain[i])) for i in order)


def _behind(question: Question, proposal: Proposal, ranked: Sequence[Candidate]) -> Behind:
    """The numbers behind the reason."""
    surrogate, condition, here = question.surrogate, question.condition, proposal.pressure_kpa
    tested = [item.cell.pressure_kpa for item in surrogate.readings(condition)]
    grid = question.grid
    x, u = tensor(log_pressure(grid)), tensor(log_current(condition))
    prior, posterior = surrogate.prior_curve(condition), surrogate.posterior(condition)
    with one_thread():
        free = posterior.weights * (posterior.hypothesis == HYPOTHESES.index("free"))
        before, without = (int((w @ p.mean(x, u)).argmax()) for w, p in ((prior.weights, prior), (free, posterior)))
    elsewhere = (c for c in ranked if max(c.pressure_kpa / here, here / c.pressure_kpa) > ELSEWHERE)
    return Behind(
        nearest_tested_kpa=reasons.nearest(here, tested) if tested else None,
        runner_up=next(elsewhere, None),
        prior_best_kpa=grid[before],
        free_best_kpa=grid[without],
    )


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
