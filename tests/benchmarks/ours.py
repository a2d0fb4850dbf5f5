"""Our optimiser as a player, asked as a user asks it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from optimizer import suggest
from surrogates import Cell, Optimum, Surrogate, fit

from .players import Entrant
from .worlds import CONDITION, HIGH, LOW, Case

SHARES = ("says no effect", "says edge", "claims an optimum")
WHOLE = 0.9


@dataclass
class Ours:
    """`optimizer.suggest` on `surrogates.fit`, with the world's prior and, if `history`, the cells of other pairs.

    `max_test_h`: the longest test, of which a lab tells its rig. `verdict`: what is said after the recommendation, by the
    names of SHARES.
    """

    case: Case
    history: bool = True
    max_test_h: float | None = None
    verdict: dict[str, bool] = field(default_factory=dict, init=False)

    def surrogate(self, cells: Sequence[Cell]) -> Surrogate:
        """The fit to the cells so far."""
        table = [*cells, *(self.case.sources if self.history else ())]
        return fit(table, prior=self.case.prior, seed=self.case.seed)

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        rig = {"pressure_kpa": (LOW, HIGH), "max_test_h": self.max_test_h}
        found = suggest(self.surrogate(cells), CONDITION, n=n, seed=self.case.seed, **rig)
        return found["pressure_kpa"].tolist()

    def recommend(self, cells: Sequence[Cell]) -> float:
        best = self.surrogate(cells).optimum(CONDITION, (LOW, HIGH))
        self.verdict = said(best)
        return best.pressure_kpa


def said(best: Optimum) -> dict[str, bool]:
    """What is claimed: no effect; that the best lies beyond an end; an optimum, which is a window of good pressures that
    leaves out a tenth of the range or more, claimed without saying that pressure has no effect."""
    width = math.log(best.window_kpa[1] / best.window_kpa[0]) / math.log(HIGH / LOW) if best.window_kpa else 1.0
    none, edge = best.verdict == "no effect", best.verdict.startswith("edge")
    return dict(zip(SHARES, (none, edge, width < WHOLE and not none), strict=True))


OURS = Entrant("ours", Ours, ("stackpress",), peer=False)
WITHOUT_HISTORY = Entrant("ours, without history", partial(Ours, history=False), ("stackpress",), peer=False)
