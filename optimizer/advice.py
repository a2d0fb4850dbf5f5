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
    """One cell to build next: where, what to expect of the curve (90 %) and of the cell itself (90 %), and why."""

    pressure_kpa: float
    median: float
    lower: float
    upper: float
    cell_lower: float
    cell_upper: float
    gain: float
    verdict: Verdict
    reason: str


class Best(_Document):
    """The best pressure as far as it is known; fields as in `surrogates.Optimum`."""

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


class Advice(_Document):
    """Everything said about one condition at one moment.

    `cells_used`: cells that inform the curve; `agreement`: data and physics in words; `modes`: what the cells die of, by
    pressure; `taught_by`: which other measurements inform the curve; `would_change`: which result of the proposed cell
    would move the answer; `caution`: what may not be concluded; `candidates`: best gain first.
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
