"""What is sought: one outcome or several, what must be met, and by what a cell is paid.

A requirement is written as people say it:

    coulombic_efficiency >= 98 %              the median curve lies at or above 0.98
    P(cycle_life_h < 20) <= 10 %              at most one cell in ten dies within 20 h
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from surrogates.cells import LEAST, MOST
from surrogates.errors import UserError
from surrogates.outcomes import OUTCOMES, OutcomeName, check_outcome

MOST_OUTCOMES = 3
STOP_GAIN = 0.01
_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(%?)"
CURVE = re.compile(rf"\s*(\w+)\s*>=?\s*{_NUMBER}\s*")
SHARE = re.compile(rf"\s*P\(\s*(\w+)\s*<=?\s*{_NUMBER}\s*\)\s*<=?\s*{_NUMBER}\s*", re.IGNORECASE)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Requirement(_Document):
    """An outcome that must reach `least`, in its unit: the median curve, or all but the share `most` of the cells."""

    outcome: OutcomeName
    least: Annotated[float, Field(gt=0)]
    most: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def margin(self) -> float:
        """How many times the cells' scatter the median curve must lie above `least`."""
        return 0.0 if self.most is None else NormalDist().inv_cdf(1 - self.most)

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.outcome} >= {self.least:g}"
        return f"P({self.outcome} < {self.least:g}) <= {self.most:g}"


class Goal(_Document):
    """What the optimizer is after.

    outcomes    one outcome, or two or three between which the best compromise is sought
    subject_to  requirements that the pressure must meet
    per         "cell": the cell that gains most; "channel-day": the one that gains most for each day on a channel
    stop_gain   expected gain under which the best next cell is not worth building
    """

    outcomes: Annotated[tuple[OutcomeName, ...], Field(min_length=1, max_length=MOST_OUTCOMES)] = ("cycle_life_h",)
    subject_to: tuple[Requirement, ...] = ()
    per: Literal["cell", "channel-day"] = "cell"
    stop_gain: Annotated[float, Field(ge=0, lt=1)] = STOP_GAIN


def check_goal(
    outcome: str | Sequence[str],
    subject_to: str | Sequence[str] = (),
    per: str = "cell",
    stop_gain: float = STOP_GAIN,
) -> Goal:
    """A `Goal` from words; raises `UserError` with what is expected."""
    names = [outcome] if isinstance(outcome, str) else list(outcome)
    if not 1 <= len(names) <= MOST_OUTCOMES or len(set(names)) < len(names):
        raise UserError(
            f"objective: expected one to {MOST_OUTCOMES} different outcomes; found {', '.join(names) or 'none'}."
        )
    if per not in ("cell", "channel-day"):
        raise UserError(f"per: expected cell or channel-day; found {per!r}.")
    if not 0 <= stop_gain < 1:
        raise UserError(f"stop_gain: expected a share from 0 to below 1 (0.01 is 1 %); found {stop_gain:g}.")
    texts = [subject_to] if isinstance(subject_to, str) else list(subject_to)
    return Goal(
        outcomes=tuple(check_outcome(name) for name in names),
        subject_to=tuple(requirement(text) for text in texts),
        per="cell" if per == "cell" else "channel-day",
        stop_gain=stop_gain,
    )


def requirement(text: str) -> Requirement:
    """A requirement from words (module docstring); raises `UserError`."""
    share, curve = SHARE.fullmatch(text), CURVE.fullmatch(text)
    found = share or curve
    if found is None or found[1] not in OUTCOMES:
        raise UserError(
            f'subject_to: expected "coulombic_efficiency >= 98 %" or "P(cycle_life_h < 20) <= 10 %", with one of '
            f"{', '.join(OUTCOMES)}; found {text!r}."
        )
    name = check_outcome(found[1])
    least, most = _number(found[2], found[3]), _number(found[4], found[5]) if share else None
    is_fraction = name in ("coulombic_efficiency", "capacity_retention")
    if not LEAST <= least <= MOST or (is_fraction and least >= 1) or (found[3] and not is_fraction):
        expected = "a fraction below 1, or a percentage" if is_fraction else "a number above 0, without %"
        raise UserError(f"subject_to: expected {expected} for {name}; found {text!r}.")
    if most is not None and not 0 < most < 1:
        raise UserError(f"subject_to: expected a share of cells above 0 and below 1 (or in %); found {text!r}.")
    return Requirement(outcome=name, least=least, most=most)


def _number(digits: str, percent: str) -> float:
    return float(digits) / (100 if percent else 1)
