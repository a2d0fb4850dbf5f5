"""Where a campaign's verbs get what they read: its ledger, states folded from events, fits. Here afresh each time;
`campaigns.service.desk` keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from campaigns.after import afterwards
from campaigns.ledger import Ledger
from campaigns.state import CampaignState, fold
from surrogates.cells import Cell
from surrogates.prior import Prior

if TYPE_CHECKING:
    from optimizer.advice import Advice
    from surrogates.surrogate import Surrogate


class Source:
    """What is read of a store, afresh each time it is asked for."""

    def __init__(self, store: str | Path, keep: bool = False) -> None:
        self.store = store
        self.ledger = Ledger.open(store, keep)

    def state(self, name: str) -> CampaignState:
        """A campaign of the store as its events tell it."""
        return fold(self.ledger.events(name))

    def surrogate(self, cells: Sequence[Cell], outcomes: Sequence[str], prior: Prior, seed: int = 0) -> Surrogate:
        """The surrogate fitted to cells."""
        from surrogates.surrogate import fit

        return fit(cells, outcomes, prior, seed)

    def advice(self, state: CampaignState, cells: Sequence[Cell], n: int, seed: int) -> tuple[Advice, ...]:
        """The answer about each condition of a campaign, from `cells`: its own and those that inform it."""
        return advice(self.surrogate(cells, state.goal.outcomes, state.prior, seed), state, n, seed)

    def project(self) -> None:
        """Bring MLflow up to the ledger once the answer is out, in a process of its own."""

        def sync_later() -> None:
            from campaigns.background import sync_in_background

            sync_in_background(self.store)

        afterwards(f"sync {self.store}", sync_later)


def advice(surrogate: Surrogate, state: CampaignState, n: int, seed: int) -> tuple[Advice, ...]:
    """The answer of a surrogate about each condition of a campaign."""
    from optimizer.suggestion import advise

    return tuple(advise(surrogate, condition, state.rig, n, seed, state.goal) for condition in state.conditions)
