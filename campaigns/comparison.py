"""Campaigns side by side, from their stored answers; nothing is fitted.

With P the pressure in kPa, y the outcome on its model scale (surrogates.outcomes: 0.05 is about 5 %), and intervals of
90 %:

    gain per cell            (y(P_best) - <y>) / n          read from today's curve; <y> its mean over the rig's range, even
                                                            in ln P: what a pressure picked blindly would give;
                                                            n the cells that inform the answer
    agreement of the best    |A n B| / min(|A|, |B|)        A, B the intervals of the best pressure, lengths in ln P:
                                                            1 where one lies in the other, 0 where they are apart
    agreement of the curves  share of the pressures, in ln P, that both curves cover at which their bands overlap
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from campaigns.informing import identity
from campaigns.state import CampaignState
from optimizer.advice import Advice, Curve, Interval
from surrogates.cells import Cell, Condition
from surrogates.errors import UserError
from surrogates.outcomes import Outcome, check_outcome

if TYPE_CHECKING:
    from campaigns.campaign import Campaign

FIXED = {
    "temperature_c": "temperature (C)",
    "areal_capacity_mah_cm2": "areal capacity (mAh/cm2)",
    "separator": "separator",
    "fixture": "fixture",
}
"""Columns of cells that should be the same where campaigns are compared, and what they are called."""
POINTS = 400
NAMED = 6


@dataclass(frozen=True)
class Entry:
    """One condition of one campaign, as it stands: what it cost, and what its last answer says (None: no answer yet).

    `cells`: how many by status, of this pair and electrolyte; `hours`: the hours they ran as far as stated, of all but
    `silent` that were built and state none. `gain_per_cell` on the model scale, None where no cell informs the answer.
    `moved`: campaigns whose cells have changed since that answer. `label`: the campaign, and the condition where it has several.
    """

    campaign: str
    label: str
    condition: Condition
    outcome: Outcome
    prior: str
    prior_hash: str
    cells: dict[str, int]
    hours: float
    silent: int
    moved: tuple[str, ...]
    advice: Advice | None
    gain_per_cell: float | None

    @property
    def built(self) -> int:
        """Cells that were built."""
        return sum(count for status, count in self.cells.items() if status != "planned")


@dataclass(frozen=True)
class Pairing:
    """Two entries against each other: `of` their places; what differs in words, cells that both have, and how far the
    answers agree (see the module; None where that cannot be said)."""

    of: tuple[int, int]
    differences: tuple[str, ...]
    shared: tuple[str, ...]
    best_agreement: float | None
    curve_agreement: float | None


@dataclass(frozen=True)
class Comparison:
    """Entries in the order asked for, and every two of them against each other."""

    entries: tuple[Entry, ...]
    pairings: tuple[Pairing, ...]

    @property
    def same_work(self) -> bool:
        """Whether every campaign asks the same question of the same kind of cell; their priors may differ."""
        return not any(pairing.differences for pairing in self.pairings)


def side_by_side(campaigns: Sequence[Campaign]) -> Comparison:
    """Campaigns as they stand now, told what has changed since their answers; raises as `compare`."""
    return compare([each.state for each in campaigns], {each.name: each.moved() for each in campaigns})


def compare(states: Sequence[CampaignState], moved: Mapping[str, Sequence[str]]) -> Comparison:
    """Campaigns side by side; `moved`: under each name the campaigns whose cells have changed since its answer.

    Raises `UserError` where there are not two different ones.
    """
    names = [state.name for state in states]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise UserError(
            f"compare: expected two or more different campaigns; found {', '.join(names) or 'none'}. "
            "As in: stackpress compare A B"
        )
    told = [(state, entry) for state in states for entry in _entries(state, moved.get(state.name, ()))]
    pairings = (
        _pairing((one, two), *told[one], *told[two]) for one, two in itertools.combinations(range(len(told)), 2)
    )
    return Comparison(tuple(entry for _, entry in told), tuple(pairings))


def _entries(state: CampaignState, moved: Sequence[str]) -> Iterable[Entry]:
    advised = state.latest.advice if state.latest else (None,) * len(state.conditions)
    for condition, advice in zip(state.conditions, advised, strict=True):
        cells = _cells_of(state, condition)
        ran = [cell for cell in cells if cell.status != "planned"]
        yield Entry(
            campaign=state.name,
            label=state.name if len(state.conditions) == 1 else f"{state.name}: {condition}",
            condition=condition,
            outcome=_outcome(state, condition, advice),
            prior=state.prior.name,
            prior_hash=state.prior.content_hash,
            cells=dict(Counter(cell.status for cell in cells)),
            hours=sum(cell.cycle_life_h or 0.0 for cell in ran),
            silent=sum(cell.cycle_life_h is None for cell in ran),
            moved=tuple(moved),
            advice=advice,
            gain_per_cell=gain_per_cell(advice, state.rig.pressure_kpa) if advice else None,
        )


def _outcome(state: CampaignState, condition: Condition, advice: Advice | None) -> Outcome:
    cycles = advice.retention_cycles if advice else condition.retention_cycles
    return Outcome(check_outcome(state.objective), *([cycles] if cycles else []))


def _cells_of(state: CampaignState, condition: Condition) -> list[Cell]:
    return [cell for cell in state.cells if condition.holds(cell)]


def gain_per_cell(advice: Advice, pressure_kpa: Interval) -> float | None:
    """What each cell has brought over a pressure picked blindly: see the module. `pressure_kpa`: the rig's range."""
    if not advice.cells_used:
        return None
    outcome = Outcome(check_outcome(advice.outcome), advice.retention_cycles)
    at, y = np.log(advice.curve.pressure_kpa), [outcome.to_y(value) for value in advice.curve.median]
    low, high = np.log(pressure_kpa)
    blindly = np.interp(np.linspace(low, high, POINTS), at, y).mean()
    best = np.interp(math.log(advice.best.pressure_kpa), at, y)
    return float(best - blindly) / advice.cells_used


def best_agreement(one: Interval, two: Interval) -> float:
    """How far two intervals of the best pressure agree: see the module. A single pressure counts as a point."""
    (low, high), (low2, high2) = np.log(one), np.log(two)
    shorter = min(high - low, high2 - low2)
    common = min(high, high2) - max(low, low2)
    if shorter <= 0:
        return float(common >= 0)
    return float(min(max(common / shorter, 0.0), 1.0))


def curve_agreement(one: Curve, two: Curve) -> float | None:
    """How far two curves of one outcome agree: see the module. None where they cover no common pressure."""
    low = max(one.pressure_kpa[0], two.pressure_kpa[0])
    high = min(one.pressure_kpa[-1], two.pressure_kpa[-1])
    if low >= high:
        return None
    at = np.linspace(math.log(low), math.log(high), POINTS)
    lower = np.maximum(_band(one, "lower", at), _band(two, "lower", at))
    upper = np.minimum(_band(one, "upper", at), _band(two, "upper", at))
    return float(np.mean(lower <= upper))


def _band(curve: Curve, end: str, at: np.ndarray) -> np.ndarray:
    return np.asarray(np.interp(at, np.log(curve.pressure_kpa), getattr(curve, end)))


def _pairing(of: tuple[int, int], state: CampaignState, one: Entry, state2: CampaignState, two: Entry) -> Pairing:
    shared = _shared(state, one, state2, two)
    best = curves = None
    if one.advice and two.advice:
        if "no effect" not in (one.advice.best.verdict, two.advice.best.verdict):
            best = best_agreement(one.advice.best.interval_kpa, two.advice.best.interval_kpa)
        if one.outcome == two.outcome:
            curves = curve_agreement(one.advice.curve, two.advice.curve)
    return Pairing(of, tuple(_differences(state, one, state2, two)), shared, best, curves)


def _shared(state: CampaignState, one: Entry, state2: CampaignState, two: Entry) -> tuple[str, ...]:
    theirs = {(cell.cell_id, *identity(cell)) for cell in _cells_of(state2, two.condition)}
    if state is state2:
        return ()
    return tuple(c.cell_id for c in _cells_of(state, one.condition) if (c.cell_id, *identity(c)) in theirs)


def _differences(state: CampaignState, one: Entry, state2: CampaignState, two: Entry) -> Iterable[str]:
    """What the two campaigns do not have in common, in words."""
    for field, words in (("electrode_pair", "electrode pair"), ("electrolyte", "electrolyte")):
        yield from _unlike(words, getattr(one.condition, field), getattr(two.condition, field))
    currents = [f"{c.current_density:g} {c.current_density_unit}" for c in (one.condition, two.condition)]
    yield from _unlike("current density", *currents)
    yield from _unlike("outcome", one.outcome.label, two.outcome.label)
    ranges = ["{:g} to {:g} kPa".format(*item.rig.pressure_kpa) for item in (state, state2)]
    yield from _unlike("pressures of the rig", *ranges)
    for column, words in FIXED.items():
        yield from _unlike(words, _values(state, one, column), _values(state2, two, column))


def _unlike(what: str, one: str, two: str) -> Iterable[str]:
    if one != two:
        yield f"{what}: {one or 'not stated'} against {two or 'not stated'}"


def _values(state: CampaignState, entry: Entry, column: str) -> str:
    found = {getattr(cell, column) for cell in _cells_of(state, entry.condition)} - {None}
    named = sorted(f"{value:g}" if isinstance(value, float) else str(value) for value in found)
    return ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")
