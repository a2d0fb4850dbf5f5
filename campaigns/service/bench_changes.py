"""Withdraw a cell, undo an event: a page that asks whether it is meant, then the verb of `Campaign`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Response
from fastapi.concurrency import run_in_threadpool

from campaigns.edits import no_such_cell
from campaigns.service.access import Checked, Recorder, User
from campaigns.service.bench_page import SEEN_FIELD, Sent, Typed, once, page, pages, stored
from campaigns.service.bench_views import Filled, cell_row
from campaigns.service.desk import Desk
from campaigns.service.problems import OneProblem, status_of
from campaigns.service.routing import Name, TheDesk
from surrogates.errors import UnknownError, UserError
from surrogates.outcomes import Outcome, check_outcome

router = pages()


@dataclass(frozen=True)
class Question:
    """What is asked before a change: `about` are the fields that say of what, `reason` whether one is asked for."""

    verb: str
    title: str
    lines: tuple[str, ...]
    about: Mapping[str, str]
    button: str
    reason: bool = False


@router.get("/bench/{name}/withdrawal")
def ask_withdrawal(
    name: Name, desk: TheDesk, user: Recorder, cell_id: Annotated[str, Query(max_length=100)]
) -> Response:
    """Whether a cell is meant to leave the table."""
    return _ask(desk, name, user, _withdrawal(desk, name, cell_id))


@router.post("/bench/{name}/withdrawal")
async def withdraw(name: Name, desk: TheDesk, user: Checked, typed: Sent) -> Response:
    """Take a cell out of the table."""
    return await run_in_threadpool(_withdraw, desk, name, user, typed)


@router.get("/bench/{name}/undo")
def ask_undo(name: Name, desk: TheDesk, user: Recorder, revision: Annotated[int, Query(ge=1, lt=10**9)]) -> Response:
    """Whether an event is meant to hold no longer."""
    return _ask(desk, name, user, _undoing(desk, name, revision))


@router.post("/bench/{name}/undo")
async def undo(name: Name, desk: TheDesk, user: Checked, typed: Sent) -> Response:
    """Undo an event."""
    return await run_in_threadpool(_undo, desk, name, user, typed)


def _withdraw(desk: Desk, name: str, user: User, typed: Typed) -> Response:
    cell_id = typed.get("cell_id", "")
    try:
        desk.campaign(name).withdraw(cell_id, typed.get("reason", ""), **once(typed))
    except UserError as error:
        return _ask(desk, name, user, _withdrawal(desk, name, cell_id), typed, error)
    return stored(name, typed)


def _undo(desk: Desk, name: str, user: User, typed: Typed) -> Response:
    digits = typed.get("revision", "")
    revision = int(digits) if digits.isdecimal() and len(digits) < 10 else 0
    try:
        desk.campaign(name).undo(revision, key=once(typed)["key"])
    except UserError as error:
        return _ask(desk, name, user, _undoing(desk, name, revision), typed, error)
    return stored(name, typed)


def _withdrawal(desk: Desk, name: str, cell_id: str) -> Question:
    state = desk.state(name)
    found = state.cell(cell_id)
    if found is None:
        raise no_such_cell(state, cell_id)
    cell = cell_row(found, Outcome(check_outcome(state.objective)))
    told = ", ".join(part for part in (cell.pressure, cell.status, cell.outcome) if part)
    lines = (
        f"{told}. It leaves the table and the answers; the history keeps it, and undoing brings it back.",
        "Only for a cell that should not be there: of one that failed tell that it died, and how.",
    )
    return Question("withdrawal", f"Withdraw cell {cell_id}?", lines, {"cell_id": cell_id}, "Withdraw it", reason=True)


def _undoing(desk: Desk, name: str, revision: int) -> Question:
    lines = desk.lines(name)
    if not 1 <= revision <= len(lines):
        raise UnknownError(f"undo: expected an event from 1 to {len(lines)}; found {revision}.")
    line = lines[revision - 1]
    said = f"{line.actor}, {line.time[:16].replace('T', ' ')} UTC: {line.what}."
    then = "It no longer holds then; the history keeps it, and undoing the undoing brings it back."
    return Question("undo", f"Undo event {revision}?", (said, then), {"revision": str(revision)}, "Undo it")


def _ask(
    desk: Desk, name: str, user: User, question: Question, typed: Typed | None = None, error: UserError | None = None
) -> Response:
    """The page that asks; with `error` as it was sent, and why nothing was stored."""
    problems = {"": [OneProblem(remedy=str(error))]} if error else {}
    seen = (typed or {}).get(SEEN_FIELD) or str(desk.state(name).revision)
    return page(
        "question.html.j2",
        user,
        status=status_of(error) if error else 200,
        name=name,
        revision=seen,
        question=question,
        filled=Filled("question", typed or {}, problems),
    )
