"""A file in two steps: what is in it and what it would change, then one button that records it.

Between the steps the file waits on the shelf of its sender; nothing else of the first step is remembered, the form says
it again. What is shown is decided by the functions that record it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from campaigns.campaign import Campaign
from campaigns.edits import check_open, merge, recording
from campaigns.history import values_in_words
from campaigns.service import uploads
from campaigns.service.access import Checked, Recorder, User
from campaigns.service.bench_page import Sent, Typed, once, page, pages, stored
from campaigns.service.bench_views import Filled
from campaigns.service.desk import Desk
from campaigns.service.problems import OneProblem, of_detail, status_of
from campaigns.service.routing import Name, TheDesk
from campaigns.service.shapes import ExportPreview, ExportWords
from campaigns.service.shelf import Shelf
from campaigns.state import CampaignState
from campaigns.tables import Table
from surrogates.errors import Problem, TableError, UserError

KINDS = {
    "table": "Table of cells (CSV, XLSX, Parquet)",
    "plating": "Cycler's export: plating and stripping",
    "symmetric": "Cycler's export: symmetric cell",
    "full": "Cycler's export: full cell",
}
STATUSES = {
    "": "As the file tells",
    "running": "It is still running",
    "ended": "It died",
    "stopped": "It was taken off while it still worked",
    "invalid": "It had a fault (not used for the answer)",
}
WORDS = ("cell_id", "pressure_kpa", "status", "formation", "active_mass_mg")
"""What the form asks about a cycler's export, of `ExportWords`."""
MOST_SHOWN = 200  # rows of a preview

router = pages()


@dataclass(frozen=True)
class Preview:
    """What is in a file: facts; by cell what would become of it; notes; and the button, "" where nothing is new."""

    file: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    button: str


async def _file(request: Request) -> UploadFile | None:
    file = (await request.form()).get("file")
    return file if isinstance(file, UploadFile) and file.filename else None


TheFile = Annotated[UploadFile | None, Depends(_file)]


@router.get("/bench/{name}/upload")
def choose(name: Name, desk: TheDesk, user: Recorder) -> Response:
    """The form that takes a file."""
    return _page(desk.state(name), user, Filled())


@router.post("/bench/{name}/upload")
async def look(name: Name, desk: TheDesk, user: Checked, typed: Sent, file: TheFile) -> Response:
    """What is in a file, and what it would change; nothing is stored."""
    return await run_in_threadpool(_look, desk, name, user, typed, file)


@router.post("/bench/{name}/upload/record")
async def record(name: Name, desk: TheDesk, user: Checked, typed: Sent) -> Response:
    """Record what was looked at, all or nothing."""
    return await run_in_threadpool(_record, desk, name, user, typed)


def _look(desk: Desk, name: str, user: User, typed: Typed, file: UploadFile | None) -> Response:
    state, shelf = desk.state(name), Shelf(desk.store, user.name)
    if file is not None:
        typed = {**typed, "kept": shelf.put(file.file, file.filename)}
    try:
        check_open(state)
        shown = _preview(state, shelf.get(typed.get("kept", "")), typed)
    except UserError as error:
        return _refused(state, user, shelf, typed, error)
    return _page(state, user, Filled("upload", typed), shown.file, shown)


def _record(desk: Desk, name: str, user: User, typed: Typed) -> Response:
    told, shelf = desk.campaign(name), Shelf(desk.store, user.name)
    try:
        _store(told, shelf.get(typed.get("kept", "")), typed)
    except UserError as error:
        return _refused(told.state, user, shelf, typed, error)
    return stored(name, typed)


def _store(told: Campaign, path: Path, typed: Typed) -> None:
    if _kind(typed) == "table":
        table = _table(told.state, path)
        told.merge(table.cells, table.source, correct=True, **once(typed))
        return
    with path.open("rb") as file:
        uploads.add_export(told, file, path.name, uploads.job_of(told.state, _said(typed)), once(typed)["key"])


def _preview(state: CampaignState, path: Path, typed: Typed) -> Preview:
    if _kind(typed) == "table":
        return _of_table(state, _table(state, path), path.name)
    said = _said(typed)
    with path.open("rb") as file:
        return _of_export(
            state, said.cell_id, uploads.preview_export(state, file, path.name, uploads.job_of(state, said))
        )


def _of_table(state: CampaignState, table: Table, name: str) -> Preview:
    merged = merge(state, table.cells, table.source, correct=True)
    rows = {cell.cell_id: cell.row() for cell in table.cells}
    changes = [change for draft in merged.drafts for change in draft.payload.get("changes", ())]
    columns = sorted({column for row in rows.values() for column in row} - {*state.fixed, "cell_id"})
    return Preview(
        name,
        (("Cells", str(len(rows))), ("Columns", ", ".join(columns))),
        (
            *((cell_id, "new", _in_words(state, {}, rows[cell_id])) for cell_id in merged.added),
            *((each["cell_id"], "changed", _in_words(state, each["before"], each["after"])) for each in changes),
            *((cell_id, "withdrawn, stays so", "") for cell_id in merged.withdrawn),
            *((cell_id, "as it is", "") for cell_id in merged.unchanged),
        ),
        table.notes,
        _button(len(merged.added), len(changes)),
    )


def _of_export(state: CampaignState, cell_id: str, found: ExportPreview) -> Preview:
    low, high = found.voltage_v
    facts = {
        "Format": found.format,
        "Records": f"{found.records:,}",
        "Duration": f"{found.duration_h:.4g} h",
        "Half-cycles": f"{found.half_cycles:,}",
        "Voltage": "none" if low is None else f"{low:.4g} to {high:.4g} V",
        "Columns": ", ".join(found.columns),
        "Evidence": "; ".join(found.evidence),
    }
    draft = recording(state, cell_id, found.row or {})
    changes = draft.payload["changes"] if draft else []
    new = sum(change["before"] is None for change in changes)
    return Preview(
        found.file,
        tuple((what, text) for what, text in facts.items() if text),
        tuple(
            (cell_id, "changed" if each["before"] else "new", _in_words(state, each["before"] or {}, each["after"]))
            for each in changes
        )
        or ((cell_id, "as it is", ""),),
        tuple(found.notes),
        _button(new, len(changes) - new),
    )


def _in_words(state: CampaignState, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Columns as they become, without those that the campaign holds fixed."""
    told = {column: value for column, value in after.items() if column != "cell_id" and column not in state.fixed}
    return ", ".join(values_in_words(before, told))


def _button(new: int, changed: int) -> str:
    parts = [f"{count} {word} cell{'s' * (count > 1)}" for count, word in ((new, "new"), (changed, "changed")) if count]
    return f"Record {' and '.join(parts)}" if parts else ""


def _table(state: CampaignState, path: Path) -> Table:
    with path.open("rb") as file:
        return uploads.table_of(state, file, path.name)


def _kind(typed: Typed) -> str:
    if typed.get("kind") not in KINDS:
        raise TableError("form", [Problem("", "kind", "what the file is", "nothing", "It is never guessed.")])
    return typed["kind"]


def _said(typed: Typed) -> ExportWords:
    """What the form says of a cycler's export; raises `TableError`."""
    said = {name: typed[name] for name in (*WORDS, "kind") if typed.get(name)}
    try:
        return ExportWords.model_validate(said)
    except ValidationError as error:
        found = map(of_detail, error.errors())
        raise TableError("form", [Problem("", each.field, each.expected, each.found) for each in found]) from None


def _refused(state: CampaignState, user: User, shelf: Shelf, typed: Typed, error: UserError) -> Response:
    """The form as it was sent: what is wrong with its words at each field, what is wrong with the file as one message."""
    in_form = isinstance(error, TableError) and error.source == "form"
    filled = (
        Filled.refused("upload", typed, error, ("kind", *WORDS))
        if in_form
        else Filled("upload", typed, {"file": [OneProblem(remedy=str(error))]})
    )
    path = shelf.find(typed.get("kept", ""))
    return _page(state, user, filled, path.name if path else "", status=status_of(error))


def _page(
    state: CampaignState, user: User, filled: Filled, kept: str = "", preview: Preview | None = None, status: int = 200
) -> Response:
    return page(
        "upload.html.j2",
        user,
        status=status,
        name=state.name,
        revision=state.revision,
        filled=filled,
        kept=kept,
        preview=preview,
        kinds=KINDS.items(),
        statuses=STATUSES.items(),
        cell_ids=[cell.cell_id for cell in state.cells],
        most=MOST_SHOWN,
    )
