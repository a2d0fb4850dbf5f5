"""What each verb wants to say of the cells: drafts of events from the campaign as it stands, or a refusal.

Pure functions: `campaigns.campaign` runs them inside a transaction of the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from campaigns.events import ABOUT_CELLS, Draft, Event, cells_named, current, in_force, voided
from campaigns.state import CampaignState, fold, table_of
from surrogates.cells import COLUMNS, Cell, across_rows, check_cells
from surrogates.errors import ConflictError, MovedError, Problem, TableError, UnknownError, UserError

UNDOABLE = (*ABOUT_CELLS, "undone", "closed")
CHANGEABLE = tuple(name for name in COLUMNS if name != "cell_id")


@dataclass(frozen=True)
class Merge:
    """A table against the campaign: the ids that are new, changed, there as they are, and withdrawn before."""

    added: tuple[str, ...]
    corrected: tuple[str, ...]
    unchanged: tuple[str, ...]
    withdrawn: tuple[str, ...]
    drafts: tuple[Draft, ...]


def merge(state: CampaignState, cells: Sequence[Cell], source: str, correct: bool) -> Merge:
    """Cells of a table that are new to the campaign, and with `correct` those that differ.

    A blank says nothing: it is no change of a value that the campaign has. Cells that were withdrawn stay so.
    """
    known = {cell.cell_id: cell for cell in state.cells}
    new = [cell for cell in cells if cell.cell_id not in known and cell.cell_id not in state.withdrawn]
    changes = [change_of(known[cell.cell_id], cell.row()) for cell in cells if cell.cell_id in known]
    changes = [change for change in changes if change["after"]]
    if changes and not correct:
        raise TableError(source, [_not_as_known(state, change) for change in changes])
    mended = {change["cell_id"]: changed(known[change["cell_id"]], change["after"]) for change in changes}
    _check_together([*(mended.get(cell.cell_id, cell) for cell in state.cells), *new], source)
    drafts = []
    if new:
        drafts.append(Draft("cells_added", {"source": source, "rows": [cell.row() for cell in new]}))
    if changes:
        drafts.append(Draft("corrected", {"changes": changes, "reason": source}))
    return Merge(
        added=tuple(cell.cell_id for cell in new),
        corrected=tuple(mended),
        unchanged=tuple(cell.cell_id for cell in cells if cell.cell_id in known and cell.cell_id not in mended),
        withdrawn=tuple(cell.cell_id for cell in cells if cell.cell_id in state.withdrawn),
        drafts=tuple(drafts),
    )


def _not_as_known(state: CampaignState, change: Mapping[str, Any]) -> Problem:
    was, found = (_listed(change[side], change["after"]) for side in ("before", "after"))
    remedy = "Another cell needs an id of its own; what was said wrongly of this one is corrected with --correct "
    remedy += "(in Python correct=True)."
    return Problem(f"cell {change['cell_id']}", "", f"{was}, as campaign {state.name} has it", found, remedy)


def _listed(values: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name} {shown(values.get(name))}" for name in names)


def shown(value: Any) -> str:
    """A value of a cell in words."""
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def recording(state: CampaignState, cell_id: str, changes: Mapping[str, Any]) -> Draft | None:
    """What became known of a cell, which is built if it is not there; None where all of it is known."""
    _check_columns("record", changes)
    known = _known(state, cell_id)
    if known is None:
        row = {**_new_row(state, cell_id, changes), **changes, "cell_id": cell_id}
        [cell] = check_cells([row], f"cell {cell_id}")
        _check_together([*state.cells, cell], f"cell {cell_id}")
        after = {name: value for name, value in cell.row().items() if name != "cell_id"}
        return Draft("recorded", {"changes": [{"cell_id": cell_id, "before": None, "after": after}]})
    change = _checked_change(state, known, changes)
    return Draft("recorded", {"changes": [change]}) if change["after"] else None


def correction(state: CampaignState, cell_id: str, changes: Mapping[str, Any], reason: str | None) -> Draft:
    """What had been said wrongly of a cell."""
    _check_columns("correct", changes)
    known = _known(state, cell_id)
    if known is None:
        raise no_such_cell(state, cell_id)
    change = _checked_change(state, known, changes)
    if not change["after"]:
        raise UserError(f"cell {cell_id}: expected a change; found every value as it is already. Nothing to correct.")
    return Draft("corrected", {"changes": [change], "reason": reason})


def withdrawal(state: CampaignState, cell_id: str, reason: str) -> Draft:
    """A cell that leaves the table: it should not have been there."""
    if not reason.strip():
        raise UserError(f"withdraw {cell_id}: expected a reason; found none. Say why, it is kept in the history.")
    if _known(state, cell_id) is None:
        raise no_such_cell(state, cell_id)
    return Draft("withdrawn", {"cell_id": cell_id, "reason": reason.strip()})


def closing(state: CampaignState, reason: str | None) -> Draft:
    """That the campaign is finished; its last answer must know every cell."""
    if state.latest is None or not state.is_current:
        raise UserError(
            f"close {state.name}: expected an answer that knows every cell; found cells that have changed since. "
            "Nothing was stored. Close it again."
        )
    return Draft("closed", {"reason": (reason or "").strip() or None})


def check_open(state: CampaignState) -> None:
    """Raise `UserError` where the campaign is closed: its cells and its answer stay as they are."""
    if event := state.closed:
        why = f" ({event.payload['reason']})" if event.payload["reason"] else ""
        raise ConflictError(
            f"campaign {state.name}: expected an open campaign; found it closed by {event.actor} on {event.time[:10]}"
            f"{why}. Nothing was stored. stackpress undo {state.name} {event.revision} opens it again."
        )


def undoing(events: Sequence[Event], revision: int | None) -> Draft:
    """That an event no longer holds; without `revision` the last one about cells that does."""
    events = current(events)
    if revision is None:
        holding = [event.revision for event in in_force(events) if event.kind in ABOUT_CELLS]
        if not holding:
            raise UserError("undo: expected an event about cells; found none that is in force.")
        revision = holding[-1]
    if not 1 <= revision <= len(events):
        raise UserError(f"undo: expected an event from 1 to {len(events)}; found {revision}.")
    target = events[revision - 1]
    if by := voided(events).get(revision):
        raise UserError(
            f"undo: expected an event in force; found {revision}, which event {by} has undone. "
            f"Undo event {by} to have it again."
        )
    if target.kind not in UNDOABLE:
        raise UserError(f"undo: expected an event about cells; found {revision}, {target.kind}, which changes none.")
    if target.kind != "closed":
        check_open(fold(events))
    _check_left(events, revision)
    return Draft("undone", {"revision": revision})


def _check_left(events: Sequence[Event], revision: int) -> None:
    """The table without an event must still be one."""
    undone = replace(events[-1], kind="undone", payload={"revision": revision}, revision=len(events) + 1)
    try:
        rows, _ = table_of(in_force([*events, undone]))
    except UserError as error:
        raise UserError(f"undo {revision}: later events build on it. {error}") from None
    cells = list(rows.values())
    check_cells(cells, f"undo {revision}", [f"cell {row['cell_id']}" for row in cells])


def check_unseen(events: Sequence[Event], cell_id: str, seen_revision: int | None) -> None:
    """Raise `UserError` where a cell was changed after the revision that an editor has seen."""
    if seen_revision is None:
        return
    events = current(events)
    later = [event for event in events[max(seen_revision, 0) :] if cell_id in cells_named(event, events)]
    if later:
        who = ", ".join(f"event {event.revision} ({event.kind} by {event.actor})" for event in later)
        raise MovedError(
            f"cell {cell_id}: expected it as it was at revision {seen_revision}; found it changed since by {who}. "
            "Nothing was stored. Look at it again (stackpress history --cell) and repeat."
        )


def change_of(known: Cell, row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `row` that differ from the cell, and what stands there."""
    old = known.row()
    after = {name: value for name, value in row.items() if value != old.get(name)}
    return {"cell_id": known.cell_id, "before": {name: old.get(name) for name in after}, "after": after}


def changed(known: Cell, changes: Mapping[str, Any]) -> Cell:
    """The cell with other values; raises `TableError` where the row would not hold."""
    [cell] = check_cells([{**known.row(), **changes}], f"cell {known.cell_id}", [f"cell {known.cell_id}"])
    return cell


def _checked_change(state: CampaignState, known: Cell, changes: Mapping[str, Any]) -> dict[str, Any]:
    _check_end(known.row(), changes, known.cell_id)
    cell = changed(known, changes)
    _check_together([cell if c.cell_id == cell.cell_id else c for c in state.cells], f"cell {known.cell_id}")
    row = cell.row()
    return change_of(known, {name: row.get(name) for name in changes})


def _check_together(cells: Sequence[Cell], source: str) -> None:
    if problems := across_rows(cells):
        raise TableError(source, problems)


def _check_columns(verb: str, changes: Mapping[str, Any]) -> None:
    unknown = [name for name in changes if name not in CHANGEABLE]
    if unknown:
        raise UserError(
            f"{verb}: expected columns of the table of cells; found {', '.join(unknown)}. Known: {', '.join(CHANGEABLE)}."
        )
    lost = [name for name, value in changes.items() if isinstance(value, float) and not math.isfinite(value)]
    if lost:
        raise UserError(f"{verb}, {', '.join(lost)}: expected a finite number; found {changes[lost[0]]}.")


def _known(state: CampaignState, cell_id: str) -> Cell | None:
    if event := state.withdrawn.get(cell_id):
        raise ConflictError(
            f"cell {cell_id}: expected a cell of campaign {state.name}; found one that {event.actor} has withdrawn "
            f"({event.payload['reason']}). stackpress undo {state.name} {event.revision} brings it back."
        )
    return state.cell(cell_id)


def no_such_cell(state: CampaignState, cell_id: str) -> UnknownError:
    """That a campaign has no such cell, and which it has."""
    ids = [cell.cell_id for cell in state.cells]
    found = ", ".join(ids[:20]) + ", ..." * (len(ids) > 20) if ids else "no cell yet"
    return UnknownError(f"cell {cell_id}: expected a cell of campaign {state.name}; found {found}.")


def _new_row(state: CampaignState, cell_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a cell that is recorded for the first time."""
    row = {"status": "planned", **_offered(state, cell_id)}
    if "pressure_kpa" not in row and changes.get("pressure_kpa") is None:
        raise UserError(
            f"cell {cell_id}: expected a cell of campaign {state.name}, a suggested id, or a pressure for a new cell; "
            "found none of them. Give pressure_kpa to add it."
        )
    if "electrode_pair" not in row and len(state.conditions) == 1:
        row |= state.conditions[0].model_dump(exclude={"retention_cycles"})
    return row


def _check_end(row: Mapping[str, Any], changes: Mapping[str, Any], cell_id: str) -> None:
    """A life reached so far is not a life at the end: a cell that ends says at which life."""
    lives = [name for name in ("cycle_life_h", "cycle_life_cycles") if name in row]
    ends = changes.get("status") == "ended" and row["status"] in ("running", "stopped")
    if ends and lives and not any(name in changes for name in lives):
        raise UserError(
            f"cell {cell_id}: expected the life at which it ended; found only {row[lives[0]]:g}, the {lives[0]} reached "
            f"when it was {row['status']}. Give {' or '.join(lives)} with the status."
        )


def _offered(state: CampaignState, cell_id: str) -> dict[str, Any]:
    """Pressure and condition that a suggestion offered under this id, the latest first."""
    for suggestion in reversed(state.suggestions):
        for advice, ids in zip(suggestion.advice, suggestion.cell_ids, strict=True):
            if cell_id in ids:
                pressure = advice.proposals[ids.index(cell_id)].pressure_kpa
                return {"pressure_kpa": pressure, **advice.condition.model_dump(exclude={"retention_cycles"})}
    return {}


def free_ids(state: CampaignState, n: int) -> list[list[str]]:
    """`n` new cell ids for each condition, counting on from the cells there are; a withdrawn cell keeps its own."""
    taken = {cell.cell_id for cell in state.cells} | set(state.withdrawn)
    numbers = (number for number in range(len(taken) + 1, 10**6) if f"{state.name}-{number:03d}" not in taken)
    return [[f"{state.name}-{next(numbers):03d}" for _ in range(n)] for _ in state.conditions]
