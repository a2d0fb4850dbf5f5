"""Which structure foresees held-out cells best: a handful of priors, each an edit of the default document.

`lead` is the default's log score less the variant's: below 0 where the variant is better.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from surrogates import Prior

from .peers import OURS, Contender, fit_ours
from .scoring import Plan, compare

FAMILIES = ("well-specified", "shifted", "off-scale", "flat", "edge", "two peaks", "wrong prior")
COUNTS = (3, 10, 20)
FAR = 1e6
"""kPa: a best pressure so far off that one mode alone acts in the range."""
NEVER = 1e-6


def with_medians(prior: Prior, **medians: float) -> Prior:
    """The prior with other medians of its parameters."""
    return prior.model_copy(
        update={name: getattr(prior, name).model_copy(update={"median": value}) for name, value in medians.items()}
    )


def with_hypotheses(prior: Prior, no_effect: float, no_physics: float) -> Prior:
    """The prior with other weights of its hypotheses; the physics has the rest."""
    return prior.model_copy(
        update={
            "no_effect": prior.no_effect.model_copy(update={"probability": no_effect}),
            "no_physics": prior.no_physics.model_copy(update={"probability": no_physics}),
        }
    )


def one_mode(prior: Prior, mode: str) -> Prior:
    """The falling or the rising mode alone: the slope of the other 0.01, and the best pressure, where they meet, so far
    off that the one is a straight line over the range. The level is that of the line at 150 kPa."""
    slope, best = ("slope_short", FAR) if mode == "falling" else ("slope_contact", 150.0**2 / FAR)
    # At 150 kPa the line lies ln(FAR / 150) + ln(0.01) = 4.2 below the level at the best pressure.
    level = prior.levels["cycle_life_h"]
    levels = {**prior.levels, "cycle_life_h": level.model_copy(update={"median": level.median * FAR / 150.0 * 0.01})}
    return with_medians(prior, best_pressure=best, **{slope: 0.01}).model_copy(update={"levels": levels})


VARIANTS: dict[str, Callable[[Prior], Prior]] = {
    "two modes, residual 0.02": partial(with_medians, residual_sd=0.02),
    "two modes, residual 0.5": partial(with_medians, residual_sd=0.5),
    "falling mode only": partial(one_mode, mode="falling"),
    "rising mode only": partial(one_mode, mode="rising"),
    "free curve only": partial(with_hypotheses, no_effect=NEVER, no_physics=1 - 2 * NEVER),
    "no effect only": partial(with_hypotheses, no_effect=1 - 2 * NEVER, no_physics=NEVER),
}
CONTENDERS = (OURS, *(Contender(name, partial(fit_ours, edit=edit)) for name, edit in VARIANTS.items()))


def run() -> list[dict[str, Any]]:
    """A row a family, number of cells and structure; "ours" is the default: two modes with a residual of 0.2."""
    return compare(Plan(CONTENDERS, FAMILIES, COUNTS), "structure")
