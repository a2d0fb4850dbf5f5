"""Cells: add, look at, record, correct, withdraw, and whether a running one should go on.

A cell's ETag is the revision of the last event that speaks of it; sent back as If-Match, a change is refused (412)
where somebody else has changed the cell meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from campaigns.edits import CHANGEABLE, no_such_cell
from campaigns.history import Line
from campaigns.service.access import READS, RECORDS
from campaigns.service.desk import Desk
from campaigns.service.routing import READING, WRITING, CellId, Key, Limit, Name, Offset, Seen, TheDesk, apart, page
from campaigns.service.shapes import CellPage, Changes, Correction, Merged, NewCells, Reason, Seed
from optimizer.advice import Stopping
from surrogates.cells import Cell
from surrogates.errors import UserError

router = APIRouter(tags=["cells"])
ETAG = {"headers": {"ETag": {"description": "Revision of the cell's last event.", "schema": {"type": "string"}}}}


@router.get("/campaigns/{name}/cells", response_model=CellPage, dependencies=READS, responses=READING)
def cells(request: Request, name: Name, desk: TheDesk, limit: Limit = 100, offset: Offset = 0) -> Any:
    """The cells of a campaign, in the order in which they were built."""
    state = desk.state(name)
    part, told = page(request, state.cells, limit, offset)
    return {"cells": part, "revision": state.revision, **told}


@router.post(
    "/campaigns/{name}/cells",
    status_code=201,
    response_model=Merged,
    dependencies=RECORDS,
    responses=WRITING | {200: {"model": Merged, "description": "No cell was added."}},
)
def add_cells(name: Name, new: NewCells, response: Response, desk: TheDesk, key: Key) -> Any:
    """Add cells, all or none; rows that are there already and unchanged, or withdrawn, are passed over."""
    campaign = desk.campaign(name)
    fixed = campaign.state.fixed
    rows = [{**fixed, **{column: value for column, value in row.items() if value is not None}} for row in new.cells]
    merged = campaign.merge(rows, new.source, correct=new.correct, key=key)
    if not merged.added:
        response.status_code = 200
    return Merged.of(desk.state(name), merged)


@router.get(
    "/campaigns/{name}/cells/{cell_id:cell}/stopping", response_model=Stopping, dependencies=READS, responses=READING
)
async def should_stop(name: Name, cell_id: CellId, desk: TheDesk, seed: Annotated[Seed, Query()] = 0) -> Any:
    """Whether a running cell should give its channel to a new one, and why."""
    await run_in_threadpool(_check_there, desk, name, cell_id)
    return await apart(lambda: desk.should_stop(name, cell_id, seed))


@router.post(
    "/campaigns/{name}/cells/{cell_id:cell}/corrections",
    response_model=Cell,
    dependencies=RECORDS,
    responses=WRITING | {200: ETAG},
)
def correct(
    name: Name,
    cell_id: CellId,
    said: Correction,
    response: Response,
    desk: TheDesk,
    key: Key,
    seen: Seen,
) -> Any:
    """Correct what had been said of a cell; the history keeps both."""
    desk.campaign(name).correct(cell_id, reason=said.reason, key=key, seen_revision=seen, **_columns(said.changes))
    return _shown(desk, name, cell_id, response)


@router.post(
    "/campaigns/{name}/cells/{cell_id:cell}/withdrawal",
    response_model=Line,
    dependencies=RECORDS,
    responses=WRITING,
)
def withdraw(name: Name, cell_id: CellId, why: Reason, desk: TheDesk, key: Key, seen: Seen) -> Any:
    """Take a cell that should not be there out of the table; undoing the event brings it back."""
    event = desk.campaign(name).withdraw(cell_id, why.reason, key=key, seen_revision=seen)
    return desk.lines(name)[event.revision - 1]


@router.get(
    "/campaigns/{name}/cells/{cell_id:cell}", response_model=Cell, dependencies=READS, responses=READING | {200: ETAG}
)
def cell(name: Name, cell_id: CellId, response: Response, desk: TheDesk) -> Any:
    """One cell."""
    return _shown(desk, name, cell_id, response)


@router.patch(
    "/campaigns/{name}/cells/{cell_id:cell}", response_model=Cell, dependencies=RECORDS, responses=WRITING | {200: ETAG}
)
def record(name: Name, cell_id: CellId, said: Changes, response: Response, desk: TheDesk, key: Key, seen: Seen) -> Any:
    """Record what became known of a cell; one that is not in the table yet is built: a suggested id brings its pressure
    and condition, any other needs pressure_kpa."""
    changes = _columns(said.model_extra or {})
    found = desk.campaign(name).record(cell_id, key=key, seen_revision=seen, **changes)
    response.headers["ETag"] = f'"{desk.changed_at(name, found.cell_id)}"'
    return found


def _shown(desk: Desk, name: str, cell_id: str, response: Response) -> Cell:
    found = _check_there(desk, name, cell_id)
    response.headers["ETag"] = f'"{desk.changed_at(name, cell_id)}"'
    return found


def _check_there(desk: Desk, name: str, cell_id: str) -> Cell:
    state = desk.state(name)
    found = state.cell(cell_id)
    if found is None:
        raise no_such_cell(state, cell_id)
    return found


def _columns(changes: dict[str, Any]) -> dict[str, Any]:
    """Columns by name: anything else might be an argument of the verb."""
    if unknown := sorted(set(changes) - set(CHANGEABLE)):
        raise UserError(
            f"changes: expected columns of the table of cells; found {unknown[0][:80]}. Known: {', '.join(CHANGEABLE)}."
        )
    return changes
