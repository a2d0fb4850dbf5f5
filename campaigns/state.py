"""A campaign as its events tell it: a pure fold, the same for the same events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from campaigns.events import Event, cells_named, current, in_force
from optimizer.advice import Advice
from optimizer.goal import Goal
from optimizer.rig import MOST_CELLS, Rig
from surrogates.cells import Cell, Condition
from surrogates.errors import UserError
from surrogates.prior import Prior

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Suggestion:
    """One answer of the optimizer: what it was computed from, and what it said about each condition.

    `cell_ids` are offered for the proposed cells, one list a condition, in the order of `advice`. `informed_by`: the
    revision of each other campaign whose cells were read; None in answers that do not say.
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
    informed_by: Mapping[str, int] | None = None

    def table(self) -> pd.DataFrame:
        """The proposed cells, one row a cell: cell_id, condition, and the columns of `optimizer.suggest`."""
        import pandas as pd

        rows = [
            {"cell_id": cell_id, **advice.condition.model_dump(exclude={"retention_cycles"}), **proposal.model_dump()}
            for advice, ids in zip(self.advice, self.cell_ids, strict=True)
            for proposal, cell_id in zip(advice.proposals, ids, strict=True)
        ]
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class CampaignState:
    """A campaign at one revision of the ledger.

    `uid` never changes; `programme` groups campaigns; `history` says whose cells inform the fit beside its own:
    "programme" (the programme's other campaigns), "none", or names of campaigns. `data_revision` is the revision of
    the last change of the cells; `withdrawn` the events that took a cell out of the table, by the cell's id; `closed`
    the event that finished the campaign, None while it is open.
    """

    name: str
    uid: str
    programme: str
    objective: str
    goal: Goal
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
    withdrawn: Mapping[str, Event] = field(default_factory=dict)
    closed: Event | None = None

    @property
    def latest(self) -> Suggestion | None:
        """The last suggestion, or None."""
        return self.suggestions[-1] if self.suggestions else None

    @property
    def is_current(self) -> bool:
        """Whether the last suggestion knows every cell of this campaign."""
        return self.latest is not None and self.latest.data_revision >= self.data_revision

    @property
    def free_channels(self) -> int:
        """How many cells can be built now, one at least and as many as can be asked for at most; one where channels are
        not counted."""
        busy = sum(cell.status in ("planned", "running") for cell in self.cells)
        return 1 if self.rig.channels is None else min(max(self.rig.channels - busy, 1), MOST_CELLS)

    @property
    def fixed(self) -> dict[str, Any]:
        """Columns that a table of cells need not repeat: those that a campaign of one condition holds fixed."""
        one = self.conditions[0] if len(self.conditions) == 1 else None
        return one.model_dump(exclude={"retention_cycles"}) if one else {}

    def cell(self, cell_id: str) -> Cell | None:
        """The cell with this id, or None."""
        return next((cell for cell in self.cells if cell.cell_id == cell_id), None)


def fold(events: Sequence[Event]) -> CampaignState:
    """The campaign that `events` (of one campaign, oldest first, not empty) tell of."""
    events = current(events)
    first, last, holding = events[0], events[-1], in_force(events)
    rows, withdrawn = table_of(holding)
    payload = first.payload
    history = payload["history"]
    return CampaignState(
        name=first.campaign,
        uid=payload["uid"],
        programme=payload["programme"],
        objective=payload["objective"],
        goal=Goal.model_validate(payload.get("goal") or {"outcomes": [payload["objective"]]}),
        conditions=tuple(Condition.model_validate(item) for item in payload["conditions"]),
        rig=Rig.model_validate(payload["rig"]),
        prior=Prior.from_document(payload["prior"], f"campaign {first.campaign}"),
        history=history if isinstance(history, str) else tuple(history),
        opened=first.time,
        actor=first.actor,
        citation=payload.get("citation"),
        revision=last.revision,
        data_revision=max((e.revision for e in events if cells_named(e, events)), default=first.revision),
        changed=last.time,
        cells=tuple(Cell.model_validate(row) for row in rows.values()),
        suggestions=tuple(suggestion_of(event) for event in holding if event.kind == "suggested"),
        withdrawn=withdrawn,
        closed=next((event for event in reversed(holding) if event.kind == "closed"), None),
    )


def cell_of(events: Sequence[Event], cell_id: str) -> Cell:
    """One cell of the table that a campaign's events leave."""
    return Cell.model_validate(rows_of(events)[cell_id])


def rows_of(events: Sequence[Event]) -> Rows:
    """The table of cells that a campaign's events leave, unread: each row was checked when it was stored."""
    return table_of(in_force(current(events)))[0]


Rows = dict[str, dict[str, Any]]
"""The table of cells as it is stored: under each cell's id its columns, empty ones left out."""


def table_of(events: Iterable[Event]) -> tuple[Rows, dict[str, Event]]:
    """The rows that events in force leave, in the order in which the cells were built, and the cells withdrawn.

    Raises `UserError` where an event speaks of a cell that is not there, or builds one that is: what has been checked
    when it was stored never does; what is left when an event is undone may.
    """
    rows: Rows = {}
    withdrawn: dict[str, Event] = {}
    for event in events:
        apply(rows, withdrawn, event)
    return rows, withdrawn


def apply(rows: Rows, withdrawn: dict[str, Event], event: Event) -> None:
    """Take the rows, and the cells withdrawn, past one event in force; rows that it changes are new dictionaries."""
    match event.kind:
        case "cells_added":
            for row in event.payload["rows"]:
                _build(rows, withdrawn, event, row)
        case "recorded" | "corrected":
            for change in event.payload["changes"]:
                _change(rows, withdrawn, event, change)
        case "withdrawn":
            cell_id = event.payload["cell_id"]
            _check_there(rows, event, cell_id)
            del rows[cell_id]
            withdrawn[cell_id] = event


def _build(rows: Rows, withdrawn: Mapping[str, Event], event: Event, row: dict[str, Any]) -> None:
    if row["cell_id"] in rows or row["cell_id"] in withdrawn:
        raise UserError(
            f"cell {row['cell_id']}: expected to be new where event {event.revision} builds it; found it built by an "
            f"earlier event. Undo event {event.revision} first."
        )
    rows[row["cell_id"]] = row


def _change(rows: Rows, withdrawn: Mapping[str, Event], event: Event, change: Mapping[str, Any]) -> None:
    cell_id = change["cell_id"]
    if change["before"] is None:
        _build(rows, withdrawn, event, {"cell_id": cell_id, **change["after"]})
        return
    _check_there(rows, event, cell_id)
    row = {**rows[cell_id], **change["after"]}
    rows[cell_id] = {name: value for name, value in row.items() if value is not None}


def _check_there(rows: Rows, event: Event, cell_id: str) -> None:
    if cell_id not in rows:
        raise UserError(
            f"cell {cell_id}: expected to be in the table where event {event.revision} ({event.kind}) speaks of it; "
            f"found none. Undo event {event.revision} first."
        )


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
        informed_by=payload.get("informed_by"),
    )


def data_hash(cells: Iterable[Cell]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the cells, in order."""
    text = json.dumps([cell.row() for cell in cells], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
