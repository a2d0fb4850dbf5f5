"""The table of cells after each event, as it was known then: what later events correct or undo still stands before them.

What is said of a moment never changes, so that a figure or a metric over a campaign's life only grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from campaigns.events import Event, cells_named, current, in_force
from campaigns.state import Rows, apply, table_of


@dataclass(frozen=True)
class Moment:
    """One event, the ids of the cells that it speaks of, and the rows that it left (to be read before the next one)."""

    event: Event
    cell_ids: tuple[str, ...]
    rows: Rows


def moments(events: Sequence[Event]) -> Iterator[Moment]:
    """Each event of a campaign, oldest first, with the table of cells after it."""
    events = current(events)
    rows: Rows = {}
    withdrawn: dict[str, Event] = {}
    for event in events:
        if event.kind == "undone":
            rows, withdrawn = table_of(in_force(events[: event.revision]))
        else:
            apply(rows, withdrawn, event)
        yield Moment(event, cells_named(event, events), rows)


Row = Mapping[str, Any]
RowsOverTime = dict[str, list[tuple[Event, Row]]]


def rows_over_time(events: Sequence[Event]) -> RowsOverTime:
    """Under each cell's id the events that speak of it, with the row that each left; empty where it was withdrawn."""
    found: RowsOverTime = {}
    for moment in moments(events):
        for cell_id in moment.cell_ids:
            found.setdefault(cell_id, []).append((moment.event, moment.rows.get(cell_id, {})))
    return found


def effort(events: Sequence[Event]) -> Iterator[tuple[Event, int, float]]:
    """After each event about cells: how many were built (all but the planned ones), and the hours that they have run
    as far as stated."""
    hours: dict[str, float] = {}
    for moment in moments(events):
        for cell_id in moment.cell_ids:
            row = moment.rows.get(cell_id)
            if row is None or row["status"] == "planned":
                hours.pop(cell_id, None)
            else:
                hours[cell_id] = float(row.get("cycle_life_h") or 0.0)
        if moment.cell_ids:
            yield moment.event, len(hours), sum(hours.values())
