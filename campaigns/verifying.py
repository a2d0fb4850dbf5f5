"""Answers computed again: from the ledger's events as they were, by the very function that answers.

An answer comes out the same where every number and word that was stored is there again, exactly. Where one is not, what
may have caused it is looked for: another version, a prior that reads differently, cells that are not those of then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from campaigns.events import Event, cells_named, current
from campaigns.informing import history_of, informing
from campaigns.ledger import Ledger
from campaigns.state import CampaignState, Suggestion, data_hash, fold
from optimizer.advice import Advice
from surrogates.cells import Cell
from surrogates.errors import UserError

Advise = Callable[[CampaignState, tuple[Cell, ...], int, int], tuple[Advice, ...]]
CHANGING = ("corrected", "withdrawn", "undone")
NAMED: dict[str, tuple[str | int, ...]] = {
    "next_kpa": ("proposals", 0, "pressure_kpa"),
    "gain": ("proposals", 0, "gain"),
    "best_kpa": ("best", "pressure_kpa"),
}
"""The numbers of an answer that a decision hangs on, and where they stand in it."""


@dataclass(frozen=True)
class Check:
    """One answer computed again.

    `differences`: what of `NAMED` differs, for each condition that does, as (stored, found); `numbers` of all numbers
    stored differ, by `largest` at most, relative to the larger of the two. `why`: what is not as it was; where that is
    empty although the answer differs, no reason is known. `mended`: cells it stood on that were corrected, withdrawn or
    undone since, which is no fault of the answer.
    """

    revision: int
    time: str
    actor: str
    next_kpa: tuple[float, ...]
    same: bool
    differences: dict[str, dict[str, tuple[float, float]]]
    numbers: int
    largest: float
    why: tuple[str, ...]
    mended: tuple[str, ...]

    @property
    def is_explained(self) -> bool:
        """Whether the answer came out the same, or something is known that made it differ."""
        return self.same or bool(self.why)


@dataclass(frozen=True)
class _Basis:
    """What an answer was computed from, as far as the ledger still tells."""

    state: CampaignState
    cells: tuple[Cell, ...]
    mended: tuple[str, ...]
    missing: tuple[str, ...]


def verify(
    ledger: Ledger,
    name: str,
    advise: Advise,
    versions: Mapping[str, str],
    revision: int | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Check]:
    """Every answer of a campaign (or that of event `revision`) computed again by `advise`; `versions` are today's.

    Raises `UserError` where `revision` is no answer.
    """
    events = current(ledger.events(name))
    answers = [item for item in fold(events).suggestions if revision in (None, item.revision)]
    if revision is not None and not answers:
        known = ", ".join(str(item.revision) for item in fold(events).suggestions) or "none"
        raise UserError(f"verify {name}: expected an event that is an answer ({known}); found {revision}.")
    found: dict[Any, tuple[Advice, ...]] = {}
    checks = []
    for answer in answers:
        basis = _basis(ledger, events, answer)
        question = (data_hash(basis.cells), len(answer.advice[0].proposals), answer.seed)
        if question not in found:
            found[question] = advise(basis.state, basis.cells, *question[1:])
        checks.append(_check(answer, basis, found[question], versions))
        done()
    return checks


def _basis(ledger: Ledger, events: Sequence[Event], answer: Suggestion) -> _Basis:
    state = fold(events[: answer.data_revision])
    mended = list(_mended(events, answer.revision, state))
    others, missing = [], []
    for name, told, then in _others(ledger, state, answer):
        if len(told) < then:
            missing.append(f"{name}, revision {then}")
        else:
            others.append(fold(told[:then]))
            mended += [f"{name}/{cell_id}" for cell_id in _mended(told, then, others[-1])]
    return _Basis(state, informing(state, others), tuple(dict.fromkeys(mended)), tuple(missing))


def _others(ledger: Ledger, state: CampaignState, answer: Suggestion) -> Iterator[tuple[str, tuple[Event, ...], int]]:
    """The other campaigns that were read: name, events of today, revision then (by the clock where it is not told)."""
    if answer.informed_by is not None:
        for name, revision in answer.informed_by.items():
            yield name, current(ledger.events(name)), revision
        return
    asked = datetime.fromisoformat(answer.time)
    for name in ledger.campaigns() if state.history != "none" else ():
        if name != state.name:
            told = current(ledger.events(name))
            then = sum(datetime.fromisoformat(event.time) < asked for event in told)
            if then and history_of(state, [fold(told[:then])]):
                yield name, told, then


def _mended(events: Sequence[Event], revision: int, then: CampaignState) -> Iterator[str]:
    """Cells of `then` of which an event after `revision` says that something had been said wrongly."""
    ids = {cell.cell_id for cell in then.cells}
    for event in events[revision:]:
        if event.kind in CHANGING:
            yield from (cell_id for cell_id in cells_named(event, events) if cell_id in ids)


def _check(answer: Suggestion, basis: _Basis, found: tuple[Advice, ...], versions: Mapping[str, str]) -> Check:
    pairs = [
        (stored.model_dump(mode="json", exclude_unset=True), again.model_dump(mode="json"))
        for stored, again in zip(answer.advice, found, strict=True)
    ]
    leaves = [pair for stored, again in pairs for pair in _leaves(stored, again)]
    differ = [abs(a - b) / max(abs(a), abs(b)) for a, b in leaves if a != b and _is_number(a) and _is_number(b)]
    differences = {str(stored.condition): _named(*pair) for stored, pair in zip(answer.advice, pairs, strict=True)}
    return Check(
        revision=answer.revision,
        time=answer.time,
        actor=answer.actor,
        next_kpa=tuple(p.pressure_kpa for advice in answer.advice for p in advice.proposals),
        same=all(a == b for a, b in leaves),
        differences={condition: several for condition, several in differences.items() if several},
        numbers=len(differ),
        largest=max(differ, default=0.0),
        why=tuple(_why(answer, basis, versions)),
        mended=basis.mended,
    )


def _why(answer: Suggestion, basis: _Basis, versions: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*versions, *answer.versions}):
        then, now = answer.versions.get(name, "not told"), versions.get(name, "none")
        if then != now:
            yield f"{name} was {then}, is {now}"
    prior = basis.state.prior
    if prior.content_hash != answer.prior_hash:
        yield f"prior {prior.name} had the hash {answer.prior_hash}, reads as {prior.content_hash} now"
    if basis.missing:
        yield f"cells of other campaigns were read that this store has not: {'; '.join(basis.missing)}"
    elif (now := data_hash(basis.cells)) != answer.data_hash:
        which = "" if answer.informed_by is not None else "; it does not say which cells of other campaigns it read"
        yield f"the cells it was computed from had the hash {answer.data_hash}, those of the ledger have {now}{which}"


def _named(stored: Any, again: Any) -> dict[str, tuple[float, float]]:
    pairs = {name: (_at(stored, path), _at(again, path)) for name, path in NAMED.items()}
    return {name: (then, now) for name, (then, now) in pairs.items() if then != now}


def _at(document: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        document = document[step]
    return document


def _leaves(stored: Any, again: Any) -> Iterator[tuple[Any, Any]]:
    """Values side by side: those that were stored, with what is there now in their place (None for nothing)."""
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key, value in stored.items():
            yield from _leaves(value, again.get(key))
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for one, two in zip(stored, again, strict=True):
            yield from _leaves(one, two)
    else:
        yield stored, again


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
