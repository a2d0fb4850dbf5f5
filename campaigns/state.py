"""A campaign as its events tell it: a pure fold, the same for the same events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from campaigns.ledger import SCHEMA_VERSION, Event
from optimizer.advice import Advice
from optimizer.rig import Rig
from surrogates.cells import Cell, Condition
from surrogates.errors import UserError
from surrogates.prior import Prior


@dataclass(frozen=True)
class Suggestion:
    """One answer of the optimizer: what it was computed from, and what it said about each condition.

    `cell_ids` are offered for the proposed cells, one list a condition, in the order of `advice`.
    """

    revision: int
    time: str
    actor: str
    data_revision: int
    seed: int
    data_hash: str
    prior_hash: str
    versions: dict[str, str]
    advice: tuple[Advice, ...]
    cell_ids: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class CampaignState:
    """A campaign at one revision of the ledger.

    `uid` never changes; `programme` groups campaigns; `history` says whose cells inform the fit beside its own:
    "programme" (the programme's other campaigns), "none", or names of campaigns. `data_revision` is the revision of
    the last change of the cells.
    """

    name: str
    uid: str
    programme: str
    objective: str
    conditions: tuple[Condition, ...]
    rig: Rig
    prior: Prior
    history: str | tuple[str, ...]
    opened: str
    actor: str
    citation: str | None = None
    revision: int = 1
    data_revision: int = 1
    changed: str = ""
    cells: tuple[Cell, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def latest(self) -> Suggestion | None:
        """The last suggestion, or None."""
        return self.suggestions[-1] if self.suggestions else None

    @property
    def is_current(self) -> bool:
        """Whether the last suggestion knows every cell of this campaign."""
        return self.latest is not None and self.latest.data_revision >= self.data_revision

    def cell(self, cell_id: str) -> Cell | None:
        """The cell with this id, or None."""
        return next((cell for cell in self.cells if cell.cell_id == cell_id), None)


def fold(events: Sequence[Event]) -> CampaignState:
    """The campaign that `events` (of one campaign, oldest first, not empty) tell of."""
    newer = [event for event in events if event.kind not in _FOLDS or event.schema_version > SCHEMA_VERSION]
    if newer:
        raise UserError(
            f"campaign {newer[0].campaign}: expected events this version knows; found {newer[0].kind!r} of schema "
            f"version {newer[0].schema_version}. It was written by a newer stackpress: update stackpress."
        )
    state = _opened(events[0])
    for event in events[1:]:
        state = replace(_FOLDS[event.kind](state, event), revision=event.revision, changed=event.time)
    return state


def _opened(event: Event) -> CampaignState:
    payload = event.payload
    history = payload["history"]
    return CampaignState(
        name=event.campaign,
        uid=payload["uid"],
        programme=payload["programme"],
        objective=payload["objective"],
        conditions=tuple(Condition.model_validate(item) for item in payload["conditions"]),
        rig=Rig.model_validate(payload["rig"]),
        prior=Prior.from_document(payload["prior"], f"campaign {event.campaign}"),
        history=history if isinstance(history, str) else tuple(history),
        opened=event.time,
        actor=event.actor,
        citation=payload.get("citation"),
        changed=event.time,
    )


def _cells_added(state: CampaignState, event: Event) -> CampaignState:
    added = tuple(Cell.model_validate(row) for row in event.payload["rows"])
    return replace(state, cells=state.cells + added, data_revision=event.revision)


def _recorded(state: CampaignState, event: Event) -> CampaignState:
    cell = Cell.model_validate(event.payload["row"])
    known = state.cell(cell.cell_id) is not None
    cells = tuple(cell if old.cell_id == cell.cell_id else old for old in state.cells)
    return replace(state, cells=cells if known else (*state.cells, cell), data_revision=event.revision)


def suggestion_of(event: Event) -> Suggestion:
    """The suggestion that a `suggested` event holds."""
    payload = event.payload
    return Suggestion(
        revision=event.revision,
        time=event.time,
        actor=event.actor,
        data_revision=payload["data_revision"],
        seed=payload["seed"],
        data_hash=payload["data_hash"],
        prior_hash=payload["prior_hash"],
        versions=payload["versions"],
        advice=tuple(Advice.model_validate(item) for item in payload["advice"]),
        cell_ids=tuple(tuple(ids) for ids in payload["cell_ids"]),
    )


def _suggested(state: CampaignState, event: Event) -> CampaignState:
    return replace(state, suggestions=(*state.suggestions, suggestion_of(event)))


_FOLDS: dict[str, Any] = {
    "campaign_opened": lambda state, _: state,
    "cells_added": _cells_added,
    "recorded": _recorded,
    "suggested": _suggested,
}


def data_hash(cells: Iterable[Cell]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the cells, in order."""
    text = json.dumps([cell.row() for cell in cells], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
