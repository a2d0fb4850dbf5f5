"""What can happen in a campaign: the kinds of events, the shapes of their payloads, and which of them are in force.

    kind               payload (schema version 2)
    campaign_opened    uid, programme, objective, goal, conditions, rig, prior, history, citation
    cells_added        source, rows: cells built, a mapping of column to value each
    recorded           changes: what became known of cells
    corrected          changes, reason: what had been said wrongly of cells
    withdrawn          cell_id, reason: a cell that leaves the table
    undone             revision: of the event that no longer holds; it may itself be an undone one
    suggested          advice, cell_ids: the optimizer's answer (ranked candidates and curve in it); data_revision,
                       data_hash, informed_by, prior_hash, seed, versions: what it was computed from
    closed             reason: the campaign is finished; undone, it is open again

A change is {"cell_id", "before", "after"}: the columns it sets and what stood there, None for nothing. Where `before` is
None the change builds the cell. A payload is read through `current`, which brings older versions up to this one; what
is stored is never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from surrogates.errors import UserError

SCHEMA_VERSION = 2
ABOUT_CELLS = ("cells_added", "recorded", "corrected", "withdrawn")
KINDS = ("campaign_opened", *ABOUT_CELLS, "undone", "suggested", "closed")


@dataclass(frozen=True)
class Draft:
    """What a verb wants to say: an event that is not stored yet."""

    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One thing that happened; `time` in UTC (ISO 8601), `key` different for every event of a store."""

    campaign: str
    revision: int
    kind: str
    schema_version: int
    payload: dict[str, Any]
    actor: str
    time: str
    key: str


def current(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events in today's shapes; raises `UserError` where one is from a newer version."""
    built: set[str] = set()
    shaped = []
    for event in events:
        if event.kind not in KINDS or event.schema_version > SCHEMA_VERSION:
            raise UserError(
                f"campaign {event.campaign}: expected events this version knows; found {event.kind!r} of schema "
                f"version {event.schema_version}. It was written by a newer stackpress: update stackpress."
            )
        if event.schema_version == 1 and event.kind == "recorded":
            event = replace(event, payload=_recorded_2(event.payload, built), schema_version=2)
        if event.kind in ABOUT_CELLS:
            built.update(_named(event))
        shaped.append(event)
    return tuple(shaped)


def _recorded_2(payload: Mapping[str, Any], built: set[str]) -> dict[str, Any]:
    """Version 1 kept the whole row and the names of what changed in it, not what had stood there."""
    row = dict(payload["row"])
    if row["cell_id"] not in built:
        return {"changes": [{"cell_id": row.pop("cell_id"), "before": None, "after": row}]}
    after = {name: row.get(name) for name in payload["changed"]}
    return {"changes": [{"cell_id": row["cell_id"], "before": {}, "after": after}]}


def voided(events: Iterable[Event]) -> dict[int, int]:
    """The revision of each event that does not hold, to that of the event that undid it."""
    void: dict[int, int] = {}
    for event in sorted(events, key=lambda event: event.revision, reverse=True):
        if event.kind == "undone" and event.revision not in void:
            void[event.payload["revision"]] = event.revision
    return void


def in_force(events: Sequence[Event]) -> tuple[Event, ...]:
    """The events that hold: neither undone nor an undoing."""
    void = voided(events)
    return tuple(event for event in events if event.revision not in void and event.kind != "undone")


def cells_named(event: Event, events: Sequence[Event]) -> tuple[str, ...]:
    """The ids of the cells that an event (one of `events`, a campaign's first ones in order) speaks of."""
    while event.kind == "undone":
        event = events[event.payload["revision"] - 1]
    return _named(event) if event.kind in ABOUT_CELLS else ()


def _named(event: Event) -> tuple[str, ...]:
    payload = event.payload
    if event.kind == "withdrawn":
        return (payload["cell_id"],)
    return tuple(item["cell_id"] for item in payload["rows" if event.kind == "cells_added" else "changes"])
