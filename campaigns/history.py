"""What happened in a campaign: one line an event, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from campaigns.edits import shown
from campaigns.events import Event, cells_named, current, voided
from surrogates.errors import UnknownError

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 8  # cells or changes in a line


@dataclass(frozen=True)
class Line:
    """An event in words; `time` in UTC, `undone_by` the revision of the event by which it no longer holds."""

    revision: int
    time: str
    actor: str
    kind: str
    what: str
    undone_by: int | None


def lines_of(events: Sequence[Event], cell_id: str | None = None) -> list[Line]:
    """A line for each event, oldest first; with `cell_id` those that speak of this cell."""
    events = current(events)
    void = voided(events)
    chosen = [event for event in events if cell_id is None or cell_id in cells_named(event, events)]
    if cell_id is not None and not chosen:
        raise UnknownError(
            f"cell {cell_id}: expected a cell that campaign {events[0].campaign} has or had; found no event about it."
        )
    return [
        Line(e.revision, e.time, e.actor, e.kind, in_words(e, events), void.get(e.revision)) for e in chosen
    ]  # fmt: skip


def frame_of(lines: Iterable[Line]) -> pd.DataFrame:
    """The lines as a DataFrame, one row an event."""
    import pandas as pd

    return pd.DataFrame([vars(line) for line in lines], columns=[item.name for item in fields(Line)])


def text_of(lines: Sequence[Line]) -> str:
    """The lines as a table."""
    rows = [("event", "time (UTC)", "who", "what")]
    for line in lines:
        undone = f" [undone by {line.undone_by}]" if line.undone_by else ""
        rows.append((str(line.revision), line.time[:16].replace("T", " "), line.actor, f"{line.what}{undone}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{r[0]:>{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:<{widths[2]}}  {r[3]}" for r in rows)


def in_words(event: Event, events: Sequence[Event]) -> str:
    """What an event (one of `events`, a campaign's first ones in order, in today's shapes) says."""
    payload = event.payload
    match event.kind:
        case "campaign_opened":
            where = _some(f"{item['electrode_pair']} in {item['electrolyte']}" for item in payload["conditions"])
            return f"opened for {payload['objective']}: {where}"
        case "cells_added":
            ids = cells_named(event, events)
            return f"added {len(ids)} cell{'s' * (len(ids) > 1)} from {payload['source']}: {_some(ids)}"
        case "recorded" | "corrected":
            said = _some((_change_in_words(change) for change in payload["changes"]), "; ")
            return f"{event.kind} {said}{_because(payload)}"
        case "withdrawn":
            return f"withdrew {payload['cell_id']}{_because(payload)}"
        case "undone":
            target = payload["revision"]
            return f"undid {target}: {in_words(events[target - 1], events)}"
        case "closed":
            return f"closed{_because(payload)}"
        case _:
            offered = [cell_id for several in payload["cell_ids"] for cell_id in several]
            kpa = [
                f"{proposal['pressure_kpa']:g} kPa" for advice in payload["advice"] for proposal in advice["proposals"]
            ]
            return f"suggested {_some(f'{p} as {i}' for p, i in zip(kpa, offered, strict=True))}"


def _change_in_words(change: Mapping[str, Any]) -> str:
    after, before = change["after"], change["before"]
    if before is None:
        return f"{change['cell_id']}, new: {after['status']} at {shown(after['pressure_kpa'])} kPa"
    return f"{change['cell_id']}: {_some(values_in_words(before, after))}"


def values_in_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Columns as they became, each with what stood there before, if anything did."""
    for name, value in after.items():
        old = before.get(name)
        yield f"{name} {shown(value)}" if old is None else f"{name} {shown(old)} -> {shown(value)}"


def _because(payload: Mapping[str, Any]) -> str:
    return f" ({payload['reason']})" if payload.get("reason") else ""


def _some(texts: Iterable[str], between: str = ", ") -> str:
    found = list(texts)
    return between.join(found[:MOST_NAMED]) + (f"{between}..." if len(found) > MOST_NAMED else "")
