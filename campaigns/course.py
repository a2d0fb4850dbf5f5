"""The course of a campaign, as its events tell it: what was known after each answer, and when each cell ran.

A cell runs from the event that first speaks of it as built, less the hours it is said to have run by then, to the event
that says how it ended; one that came in finished ran at a time that nobody told, and has no bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from campaigns.events import Event, current, in_force
from campaigns.state import CampaignState

ALIVE, FINAL = ("running",), ("ended", "stopped", "invalid")


@dataclass(frozen=True)
class Step:
    """What one answer knew of a condition: pressures in kPa, `expected_loss` as in `optimizer.advice.Best`."""

    revision: int
    best_kpa: float
    interval_kpa: tuple[float, float]
    expected_loss: float
    cells_used: int


@dataclass(frozen=True)
class Bar:
    """One cell on its channel (0, 1, ...), as `Status` says. `told`: when the ledger first heard of it, at or after
    `start`. `end` is None while it runs."""

    cell_id: str
    pressure_kpa: float
    status: str
    start: datetime
    told: datetime
    end: datetime | None
    channel: int = 0


def steps(state: CampaignState, number: int = 0) -> list[Step]:
    """What each answer knew of the campaign's condition `number`, oldest first."""
    answers = ((suggestion.revision, suggestion.advice[number]) for suggestion in state.suggestions)
    return [
        Step(revision, advice.best.pressure_kpa, advice.best.interval_kpa, advice.best.expected_loss, advice.cells_used)
        for revision, advice in answers
    ]


def bars(events: Sequence[Event]) -> list[Bar]:
    """The bars of the cells that are in the table, each on the first channel that is free when it starts."""
    spans = [bar for told in _told(events).values() if (bar := _bar(told)) is not None]
    free: list[datetime | None] = []  # when each channel is free again; None: not yet
    placed = []
    for bar in sorted(spans, key=lambda bar: (bar.start, bar.cell_id)):
        channel = next((n for n, end in enumerate(free) if end is not None and end <= bar.start), len(free))
        free[channel : channel + 1] = [bar.end]
        placed.append(replace(bar, channel=channel))
    return placed


def _told(events: Sequence[Event]) -> dict[str, list[tuple[datetime, Mapping[str, Any]]]]:
    """What the events in force leave of each cell's row, time by time, for the cells that are in the table."""
    told: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = {}
    for event in in_force(current(events)):
        time = datetime.fromisoformat(event.time)
        if event.kind == "withdrawn":
            del told[event.payload["cell_id"]]
        for cell_id, columns in _columns(event):
            before = told[cell_id][-1][1] if cell_id in told else {}
            told.setdefault(cell_id, []).append((time, {**before, **columns}))
    return told


def _columns(event: Event) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if event.kind == "cells_added":
        yield from ((row["cell_id"], row) for row in event.payload["rows"])
    elif event.kind in ("recorded", "corrected"):
        yield from (
            (change["cell_id"], {"cell_id": change["cell_id"], **change["after"]})
            for change in event.payload["changes"]
        )


def _bar(told: Sequence[tuple[datetime, Mapping[str, Any]]]) -> Bar | None:
    """The bar of one cell; None where it has not been built, or came in finished."""
    built = next((n for n, (_, row) in enumerate(told) if row["status"] != "planned"), None)
    if built is None or told[-1][1]["status"] == "planned" or (built == 0 and told[0][1]["status"] in FINAL):
        return None
    time, row = told[built]
    start = time - timedelta(hours=float(row.get("cycle_life_h") or 0.0))
    if built:  # planned in the ledger before: it cannot have run earlier
        start = max(start, told[0][0])
    alive = max((n for n, (_, row) in enumerate(told) if row["status"] in ALIVE), default=-1)
    end = told[alive + 1][0] if alive + 1 < len(told) else None
    last = told[-1][1]
    return Bar(last["cell_id"], last["pressure_kpa"], last["status"], start, time, end)
