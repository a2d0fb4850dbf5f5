"""What a process of the service keeps: the ledger opened once, states by their revision, fits by their cells.

Nothing here is shared between processes and nothing here is the truth: every read begins with one small query for the
revisions in the ledger, and what is kept counts only where they are the same.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from campaigns.campaign import NAME, Campaign
from campaigns.events import Event, cells_named, current
from campaigns.history import Line
from campaigns.service.tokens import Tokens
from campaigns.source import Source, advice
from campaigns.state import CampaignState, Suggestion, data_hash, fold
from surrogates.cells import Cell
from surrogates.errors import UnknownError, UserError
from surrogates.prior import Prior

if TYPE_CHECKING:
    from campaigns.figure import ImageKind
    from campaigns.service.processes import OwnProcess
    from optimizer.advice import Advice, Stopping
    from surrogates.surrogate import Surrogate

MOST_STATES, MOST_FITS, MOST_ANSWERS, MOST_FIGURES = 64, 64, 256, 64
PROJECT_AFTER_S = 5.0
T = TypeVar("T")


class Kept(Generic[T]):
    """The `most` things used last, each under a key; threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._things: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """What is kept under `key`, or None."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
            return self._things.get(key)

    def put(self, key: Hashable, thing: T) -> T:
        """Keep a thing; what was not used for longest goes."""
        with self._lock:
            self._things[key] = thing
            self._things.move_to_end(key)
            while len(self._things) > self._most:
                self._things.popitem(last=False)
        return thing


class Desk(Source):
    """The store as the service's routes read it: `Campaign`s that share what this process has read and fitted.

    `tokens`: who may ask. `fitter`, `drawer`: processes for answers and figures; without them both are made here. All methods
    may be called by several threads; only those that fit wait for each other, and those that draw.
    """

    fitter: OwnProcess | None = None
    drawer: OwnProcess | None = None

    def __init__(self, store: str) -> None:
        super().__init__(store, keep=True)
        self.tokens = Tokens(self.ledger)
        self._states: Kept[tuple[CampaignState, dict[str, int]]] = Kept(MOST_STATES)
        self._fits: Kept[Surrogate] = Kept(MOST_FITS)
        self._answers: Kept[Suggestion] = Kept(MOST_ANSWERS)
        self._figures: Kept[bytes] = Kept(MOST_FIGURES)
        self._projecting = threading.Lock()
        self._waiting: threading.Timer | None = None
        self._fitting, self._drawing = threading.RLock(), threading.Lock()

    def names(self) -> tuple[str, ...]:
        """The names of all campaigns, oldest first."""
        return self.ledger.campaigns()

    def campaign(self, name: str) -> Campaign:
        """A campaign of the store; raises `UnknownError`."""
        self._check(name)
        return Campaign(name, self)

    def state(self, name: str) -> CampaignState:
        """A campaign as its events tell it now; raises `UnknownError`."""
        return self._kept(name)[0]

    def changed_at(self, name: str, cell_id: str) -> int:
        """The revision of the last event that speaks of a cell; 0 where none does."""
        return self._kept(name)[1].get(cell_id, 0)

    def surrogate_of(self, name: str) -> Surrogate:
        """The surrogate of a campaign's cells as they are now; what is asked of it computes: ask inside `alone`."""
        return self.campaign(name).surrogate

    def answered(self, name: str, n: int | None = None, seed: int = 0) -> Suggestion | None:
        """The answer to this question where it was given here and nothing in the store has changed since."""
        return self._answers.get((name, n, seed, self._mark(name)))

    def advise(self, name: str, n: int | None = None, seed: int = 0, key: str | None = None) -> Suggestion:
        """`Campaign.advise`, one at a time: who asked the same meanwhile has the answer that was just computed."""
        with self._fitting:
            if key is None and (answer := self.answered(name, n, seed)):
                return answer
            answer = self.campaign(name).advise(n, seed, key=key)
            return self._answers.put((name, n, seed, self._mark(name)), answer)

    def should_stop(self, name: str, cell_id: str, seed: int = 0) -> Stopping:
        """`Campaign.should_stop`, one at a time."""
        with self._fitting:
            return self.campaign(name).should_stop(cell_id, seed)

    def lines(self, name: str, cell_id: str | None = None) -> list[Line]:
        """The history of a campaign, or of one cell of it."""
        return self.campaign(name).lines(cell_id)

    def surrogate(self, cells: Sequence[Cell], outcomes: Sequence[str], prior: Prior, seed: int = 0) -> Surrogate:
        """The surrogate fitted to cells, fitted once."""
        key = (data_hash(cells), tuple(outcomes), prior.content_hash, seed)
        return self._fits.get(key) or self._fits.put(key, super().surrogate(cells, outcomes, prior, seed))

    def advice(self, state: CampaignState, cells: Sequence[Cell], n: int, seed: int) -> tuple[Advice, ...]:
        """As of every `Source`, one at a time: each takes a core, and readers need another."""
        with self._fitting:
            if self.fitter is None:
                found = super().advice(state, cells, n, seed)
            else:
                found = self.fitter.do(f"campaign {state.name}", _advised, state, cells, n, seed)
        check_finite([item.model_dump() for item in found], f"campaign {state.name}")
        return found

    def figure(self, name: str, kind: ImageKind | Literal["json"], number: int = 1, narrow: bool = False) -> bytes:
        """The picture of the last answer about the campaign's condition `number`, or what can be read off it where ("json");
        raises `UnknownError`."""
        state = self.state(name)
        advice = state.latest.advice if state.latest else ()
        if number > len(advice):
            raise UnknownError(
                f"campaign {name}: expected an answer about condition {number}; found {len(advice)}. Ask for one first."
            )
        key = (name, state.revision, kind, number, narrow)
        return self._figures.get(key) or self._drawn_alone(key, state, number, kind, narrow)

    def _drawn_alone(self, key: Hashable, *what: Any) -> bytes:
        with self._drawing:
            return self._figures.get(key) or self._figures.put(
                key, self.drawer.do("figure", _drawn, *what) if self.drawer else _drawn(*what)
            )

    def alone(self, work: Callable[[], T]) -> T:
        """Do something that fits while nothing else does."""
        with self._fitting:
            return work()

    def close(self) -> None:
        """Project what still waits for it, and give back the processes and the database's connections."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._project_now()
        for process in (self.fitter, self.drawer):
            if process:
                process.close()
        self.ledger.close()

    def project(self) -> None:
        """Bring MLflow up to the ledger soon: once for all that is stored meanwhile, in a process of its own."""
        with self._projecting:
            if self._waiting is None:
                self._waiting = threading.Timer(PROJECT_AFTER_S, self._project_now)
                self._waiting.daemon = True
                self._waiting.start()

    def _project_now(self) -> None:
        from campaigns.background import sync_in_background

        with self._projecting:
            self._waiting = None
        sync_in_background(self.store)

    def _kept(self, name: str) -> tuple[CampaignState, dict[str, int]]:
        revision = self._check(name)
        kept = self._states.get(name)
        if kept is None or kept[0].revision != revision:
            events = self.ledger.events(name)
            kept = self._states.put(name, (fold(events), _changes(events)))
        return kept

    def _check(self, name: str) -> int:
        revision = self.ledger.revision(name) if NAME.fullmatch(name) else 0
        if not revision:
            raise UnknownError(f"campaign {name[:80]}: expected a campaign of this store; found none of that name.")
        return revision

    def _mark(self, name: str) -> Hashable:
        """What an answer about a campaign may depend on: how far it is, and those that may inform it."""
        state = self.state(name)
        if state.history == "none":
            return state.revision
        return tuple(self.ledger.revisions().items())


def _advised(state: CampaignState, cells: Sequence[Cell], n: int, seed: int) -> tuple[Advice, ...]:
    from surrogates.surrogate import fit

    return advice(fit(cells, state.goal.outcomes, state.prior, seed), state, n, seed)


def _drawn(state: CampaignState, number: int, kind: ImageKind | Literal["json"], narrow: bool) -> bytes:
    from campaigns.figure import draw, image
    from campaigns.service.bench_figure import readings

    assert state.latest is not None
    advice = state.latest.advice[number - 1]
    figure = draw(state, advice, narrow)
    return json.dumps(readings(figure, state, advice)).encode() if kind == "json" else image(figure, kind)


def check_finite(document: Any, what: str) -> None:
    """Raise `UserError` where an answer holds a number that is none: it can be neither stored nor sent."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(
                f"{what}: expected an answer in numbers; found one beyond all bounds. A current density, life or "
                "pressure is off by many powers of ten: correct it."
            )


def _changes(events: Sequence[Event]) -> dict[str, int]:
    """Under each cell's id the revision of the last event that speaks of it."""
    events = current(events)
    return {cell_id: event.revision for event in events for cell_id in cells_named(event, events)}
