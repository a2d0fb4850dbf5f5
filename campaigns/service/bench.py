"""The bench page: what to test next and what became of it, for a person with a browser; works without JavaScript.

Every form carries the key of one request (sent twice, it is stored once), the revision that its writer has seen, and the
session's token. What is refused comes back as it was typed, each problem at its field.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from campaigns.campaign import Campaign
from campaigns.service.access import FORM_FIELD, READS, Checked, Reader, User, checked_form, form_token
from campaigns.service.bench_views import END_REASONS, Bench, Filled, bench, row
from campaigns.service.desk import Desk
from campaigns.service.problems import RefusalError, status_of
from campaigns.service.routing import Name, TheDesk, apart
from campaigns.service.sessions import FORM, HOME
from campaigns.service.shapes import check_kept
from campaigns.service.tokens import Role
from surrogates.cells import FAULTS
from surrogates.errors import ConflictError, Problem, TableError, UserError

if TYPE_CHECKING:
    from jinja2 import Environment

Typed = Mapping[str, str]
KEY_FIELD, SEEN_FIELD = "key", "seen_revision"
MOST_COMPARED = 6


class PageRoute(APIRoute):
    """A route whose refusals are pages, too; who has not logged in is sent to do so."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The handler, with refusals caught."""
        answer = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await answer(request)
            except RefusalError as error:
                if error.status == 401:
                    asked = request.url.path if request.method == "GET" else HOME
                    return RedirectResponse(f"{FORM}?then={quote(asked)}", 303)
                return _refusal(error.status, error.detail, error.headers)
            except UserError as error:
                return _refusal(status_of(error), str(error))
            except RequestValidationError as error:
                told = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
                return _refusal(422, told)
            except HTTPException as error:
                return _refusal(error.status_code, str(error.detail))

        return handled


router = APIRouter(include_in_schema=False, route_class=PageRoute)


async def _sent(request: Request) -> Typed:
    """The fields of a form, as text."""
    typed = {name: value.strip() for name, value in (await request.form()).items() if isinstance(value, str)}
    for name, value in typed.items():
        try:
            check_kept(value)
        except ValueError as error:
            raise UserError(f"{name[:40]}: expected {error}; found others.") from None
    return typed


Sent = Annotated[Typed, Depends(_sent)]


@router.get("/", dependencies=READS)
def home() -> RedirectResponse:
    """To the list of campaigns."""
    return RedirectResponse(HOME, 303)


@router.get("/static/bench.css")
def style() -> Response:
    """The look of all pages."""
    return Response(_style(), media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@router.get(FORM)
def log_in_form(failed: bool = False, then: Annotated[str, Query(max_length=500)] = HOME) -> Response:
    """The form that turns a token into a session."""
    return _page("login.html.j2", failed=failed, then=then, status=401 if failed else 200)


@router.get(HOME)
def campaigns(desk: TheDesk, user: Reader) -> Response:
    """All campaigns; some can be chosen and compared."""
    rows = [row(desk.state(name)) for name in desk.names()]
    return _page("campaigns.html.j2", user, rows=rows, most=MOST_COMPARED)


@router.get("/bench/compare")
def compare(desk: TheDesk, user: Reader, name: Annotated[list[str] | None, Query(max_length=50)] = None) -> Response:
    """Campaigns side by side, from their last answers."""
    from campaigns.comparison import side_by_side
    from campaigns.comparison_text import said, sentences

    names = list(dict.fromkeys(name or ()))
    if not 2 <= len(names) <= MOST_COMPARED:
        raise UserError(
            f"compare: expected 2 to {MOST_COMPARED} campaigns; found {len(names)}. Go back and choose them in the list."
        )
    found = side_by_side([desk.campaign(each) for each in names])
    columns = [dict(said(entry)) for entry in found.entries]
    labels = [(entry.label, entry.campaign) for entry in found.entries]
    return _page("compare.html.j2", user, labels=labels, columns=columns, sentences=list(sentences(found)))


@router.get("/bench/{name}")
def campaign(name: Name, desk: TheDesk, user: Reader, stored: Annotated[str, Query(max_length=100)] = "") -> Response:
    """A campaign: the next pressure, the figure, the cells, and forms for what happened."""
    cell = desk.state(name).cell(stored)
    notice = f"Stored: cell {cell.cell_id}, {cell.pressure_kpa:g} kPa, {cell.status}." if cell else ""
    return _campaign(desk, name, user, notice=notice)


@router.get("/bench/{name}/history")
def history(name: Name, desk: TheDesk, user: Reader) -> Response:
    """What happened in a campaign, latest first."""
    lines = desk.lines(name)[::-1]
    return _page("history.html.j2", user, name=name, lines=lines)


@router.post("/bench/{name}/suggest", dependencies=[Depends(checked_form)])
async def suggest(name: Name, desk: TheDesk) -> Response:
    """Ask what to test next; the stored answer where nothing has changed."""
    await apart(lambda: desk.advise(name))
    return RedirectResponse(f"{HOME}/{quote(name)}", 303)


@router.post("/bench/{name}/{form}")
async def tell(
    name: Name, form: Literal["built", "running", "died"], desk: TheDesk, user: Checked, typed: Sent
) -> Response:
    """Store what a form says, all or nothing; what is refused comes back as it was typed."""
    return await run_in_threadpool(_tell, name, form, desk, user, typed)


def _tell(name: str, form: str, desk: Desk, user: User, typed: Typed) -> Response:
    told = desk.campaign(name)
    try:
        cell_id = VERBS[form](told, typed)
    except UserError as error:
        filled = Filled.refused(form, typed, error, [*typed])
        return _campaign(desk, name, user, filled, status=status_of(error))
    return RedirectResponse(f"{HOME}/{quote(name)}?stored={quote(cell_id, safe='')}", 303)


def _built(told: Campaign, typed: Typed) -> str:
    """A cell on its channel: new, or one that was planned."""
    state, cell_id = told.state, _cell_id(typed)
    pressure_kpa = _number(typed, "pressure_kpa")
    known = state.cell(cell_id)
    if known and known.status != "planned" and (known.status, known.pressure_kpa) != ("running", pressure_kpa):
        remedy = "Give the new cell an id of its own."
        found = f"{cell_id}, {known.status} at {known.pressure_kpa:g} kPa"
        raise TableError("form", [Problem("", "cell_id", "the id of a new or planned cell", found, remedy)])
    number = typed.get("condition", "0")
    several = len(state.conditions) > 1 and number.isdigit() and int(number) < len(state.conditions)
    fixed = state.conditions[int(number)].model_dump(exclude={"retention_cycles"}) if several else {}
    return _record(told, typed, cell_id, **fixed, pressure_kpa=pressure_kpa, status="running")


def _running(told: Campaign, typed: Typed) -> str:
    """A cell that is alive so far."""
    return _record(told, typed, _known(told, typed), status="running", **_life(typed))


def _died(told: Campaign, typed: Typed) -> str:
    """A cell that has ended, was taken off, or had a fault."""
    reason = typed.get("end_reason", "")
    if reason not in END_REASONS:
        raise TableError("form", [Problem("", "end_reason", "how it ended", "nothing", "Choose what fits best.")])
    status = "invalid" if reason in FAULTS else "stopped" if reason == "operator" else "ended"
    note = {"note": typed["note"]} if typed.get("note") else {}
    return _record(told, typed, _known(told, typed), status=status, end_reason=reason, **_life(typed), **note)


VERBS: dict[str, Callable[[Campaign, Typed], str]] = {"built": _built, "running": _running, "died": _died}


def _record(told: Campaign, typed: Typed, cell_id: str, **changes: Any) -> str:
    seen, key = typed.get(SEEN_FIELD, ""), typed.get(KEY_FIELD, "")
    if not (seen.isdigit() and len(seen) < 10 and 8 <= len(key) <= 64):
        raise ConflictError("form: expected the fields of this page; found others. Send it again from here.")
    return told.record(cell_id, key=key, seen_revision=int(seen), **changes).cell_id


def _known(told: Campaign, typed: Typed) -> str:
    cell_id = _cell_id(typed)
    if told.state.cell(cell_id) is None:
        remedy = "Tell first that it was built."
        raise TableError("form", [Problem("", "cell_id", "a cell of the table", cell_id, remedy)])
    return cell_id


def _cell_id(typed: Typed) -> str:
    cell_id = typed.get("cell_id", "")
    if not 1 <= len(cell_id) <= 100:
        found = f"{len(cell_id)} characters" if cell_id else "nothing"
        raise TableError("form", [Problem("", "cell_id", "an id of 1 to 100 characters", found)])
    return cell_id


def _life(typed: Typed) -> dict[str, float]:
    return {name: _number(typed, name) for name in ("cycle_life_h", "cycle_life_cycles") if name in typed}


def _number(typed: Typed, column: str) -> float:
    text = typed.get(column, "")
    value, pointed = _float(text), text.replace(",", ".")
    if not math.isfinite(value):
        meant = math.isfinite(_float(pointed))
        remedy = f"Write a point: {pointed}" if meant else "Digits alone, in the unit that is given."
        raise TableError("form", [Problem("", column, "a number", repr(text[:40]) if text else "nothing", remedy)])
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _campaign(
    desk: Desk,
    name: str,
    user: User,
    filled: Filled | None = None,
    notice: str = "",
    status: int = 200,
) -> Response:
    told = desk.campaign(name)
    shown: Bench = bench(told.state, told.moved())
    may_tell = user.role.includes(Role.RECORD) and not shown.closed
    return _page(
        "campaign.html.j2",
        user,
        status=status,
        bench=shown,
        filled=filled or Filled(),
        notice=notice,
        may_tell=may_tell,
        end_reasons=END_REASONS,
        new_key=lambda: secrets.token_urlsafe(16),
    )


def _refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    answer = _page("refusal.html.j2", detail=detail, status=status)
    answer.headers.update(headers or {})
    return answer


def _page(template: str, user: User | None = None, *, status: int = 200, **shown: Any) -> Response:
    text = (
        _templates()
        .get_template(template)
        .render(user=user, form_field=FORM_FIELD, form_token=form_token(user) if user else "", **shown)
    )
    return HTMLResponse(text, status)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("campaigns.service"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style() -> bytes:
    return files("campaigns.service").joinpath("static", "bench.css").read_bytes()
