"""What the optimizer answers, as documents: they are shown, stored in the ledger and drawn without refitting.

Values of an outcome are in its unit (retention and efficiency as fractions), pressures in kPa, gains on the model
scale (0.05 is about 5 %).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from surrogates.cells import Condition

Verdict = Literal["measure", "repeat", "no effect", "edge: higher", "edge: lower", "stop"]
Interval = tuple[float, float]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class Proposal(_Document):
    """One cell to build next: where, what to expect of the curve (90 %) and of the cell itself (90 %), and why.

    `days`: expected days on a channel, where gain is counted by them; `feasible`: probability that the pressure meets
    every requirement, where there is one.
    """

    pressure_kpa: float
    median: float
    lower: float
    upper: float
    cell_lower: float
    cell_upper: float
    gain: float
    verdict: Verdict
    reason: str
    days: float | None = None
    feasible: float | None = None


class Best(_Document):
    """The best pressure as far as it is known; fields as in `surrogates.Optimum`, and the probability that it meets every
    requirement."""

    pressure_kpa: float
    interval_kpa: Interval
    window_kpa: Interval | None
    median: float
    lower: float
    upper: float
    expected_loss: float
    no_effect: float
    prior_weight: float
    verdict: Verdict
    at_low_edge: float | None = None
    at_high_edge: float | None = None
    feasible: float | None = None


class Candidate(_Document):
    """One pressure that was considered, with its gain."""

    pressure_kpa: float
    gain: float


class Curve(_Document):
    """The outcome over pressure: posterior and prior (median and 90 %), one new cell (90 %), and each mode alone."""

    pressure_kpa: tuple[float, ...]
    median: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cell_lower: tuple[float, ...]
    cell_upper: tuple[float, ...]
    prior_median: tuple[float, ...]
    prior_lower: tuple[float, ...]
    prior_upper: tuple[float, ...]
    contact_mode: tuple[float, ...]
    short_mode: tuple[float, ...]


class Behind(_Document):
    """The numbers behind a reason.

    nearest_tested_kpa   the tested pressure nearest to the proposed one
    runner_up            the best candidate more than a quarter away from the proposed pressure
    prior_best_kpa       the best pressure before this condition's own cells
    free_best_kpa        the best pressure by the free curve, which knows no physics
    """

    nearest_tested_kpa: float | None = None
    runner_up: Candidate | None = None
    prior_best_kpa: float
    free_best_kpa: float


class Tradeoff(_Document):
    """Several outcomes over pressure, each setting held as exactly as the press can.

    median       of each outcome at each pressure, in its unit
    unbeaten     probability that no other pressure is at least as good in every outcome (the Pareto set)
    compromise_kpa  where the outcomes lose least against each one's own best, on average of their y
    own_best_kpa, loss    best pressure of each outcome; share that it is expected to lose at the compromise
    """

    outcomes: tuple[str, ...]
    pressure_kpa: tuple[float, ...]
    median: tuple[tuple[float, ...], ...]
    unbeaten: tuple[float, ...]
    compromise_kpa: float
    own_best_kpa: tuple[float, ...]
    loss: tuple[float, ...]


class Advice(_Document):
    """Everything said about one condition at one moment.

    `cells_used`: cells that inform the curve; `agreement`: data and physics in words; `modes`: what the cells die of, by
    pressure; `taught_by`: which other measurements inform the curve; `would_change`: which result of the proposed cell
    would move the answer; `caution`: what may not be concluded; `candidates`: best gain first; `prior_added`, `runner_up`:
    what the prior did to the answer and the next best pressure, with the numbers `behind`; `channels`: what is free;
    `foretold_better`: as in `surrogates.surrogate.Agreement`.
    """

    condition: Condition
    outcome: str
    retention_cycles: int
    cells_used: int
    censored: int
    proposals: tuple[Proposal, ...]
    best: Best
    agreement: str
    modes: str = ""
    taught_by: str = ""
    would_change: str
    caution: str | None
    candidates: tuple[Candidate, ...]
    curve: Curve
    runner_up: str = ""
    prior_added: str = ""
    channels: str = ""
    behind: Behind | None = None
    tradeoff: Tradeoff | None = None
    foretold_better: float | None = None


class Stopping(_Document):
    """Whether a running cell should give its channel to a new one: what each is expected to gain, and in how many days."""

    cell_id: str
    stop: bool
    gain_to_come: float
    days_to_come: float
    new_pressure_kpa: float
    gain_of_new: float
    days_of_new: float
    reason: str
