"""The bench page: what to test next and what became of it, for a person with a browser; works without JavaScript."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from campaigns.edits import UNDOABLE
from campaigns.service.access import READS, Reader, checked_form
from campaigns.service.bench_page import STATIC, campaign_page, may_record, page, pages, static
from campaigns.service.bench_views import row
from campaigns.service.desk import Desk
from campaigns.service.file_routes import Narrow, Number
from campaigns.service.routing import Name, TheDesk, apart
from campaigns.service.sessions import FORM, HOME, LONGEST
from campaigns.store import mlflow_folder, mlflow_server
from surrogates.errors import UnknownError, UserError

MOST_COMPARED = 6
router = pages()


@router.get("/", dependencies=READS)
def home() -> RedirectResponse:
    """To the list of campaigns."""
    return RedirectResponse(HOME, 303)


@router.get("/static/{file}")
def beside(file: str) -> Response:
    """What all pages load."""
    if file not in STATIC:
        raise UnknownError(f"static: expected one of {', '.join(STATIC)}; found {file[:80]!r}.")
    return Response(static(file), media_type=STATIC[file], headers={"Cache-Control": "public, max-age=3600"})


@router.get(FORM)
def log_in_form(failed: bool = False, then: Annotated[str, Query(max_length=LONGEST)] = HOME) -> Response:
    """The form that turns a token into a session."""
    return page("login.html.j2", failed=failed, then=then, status=401 if failed else 200)


@router.get(HOME)
def campaigns(desk: TheDesk, user: Reader) -> Response:
    """All campaigns; some can be chosen and compared."""
    rows = [row(desk.state(name)) for name in desk.names()]
    return page("campaigns.html.j2", user, rows=rows, most=MOST_COMPARED)


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
    return page("compare.html.j2", user, labels=labels, columns=columns, sentences=list(sentences(found)))


@router.get("/bench/{name}")
def campaign(
    name: Name, desk: TheDesk, user: Reader, since: Annotated[int | None, Query(ge=0, lt=10**9)] = None
) -> Response:
    """A campaign: the next pressure, the figure, the cells, and forms for what happened; `since`: the revision before
    what its reader has just stored."""
    notice = "" if since is None else _news(desk, name, user.name, since)
    return campaign_page(desk, name, user, notice=notice)


def _news(desk: Desk, name: str, who: str, since: int) -> str:
    said = [line.what for line in desk.lines(name)[since:] if line.actor == who]
    return f"Stored: {'; '.join(said)}." if said else "Nothing new: all of it was known already."


@router.get("/bench/{name}/history")
def history(request: Request, name: Name, desk: TheDesk, user: Reader) -> Response:
    """What happened in a campaign, latest first."""
    lines = desk.lines(name)[::-1]
    kinds = ("closed",) if desk.state(name).closed else UNDOABLE
    return page(
        "history.html.j2",
        user,
        name=name,
        lines=lines,
        may_undo=kinds if may_record(user) else (),
        has_mlflow=request.app.state.settings.mlflow_url,
    )


@router.get("/bench/{name}/readings", dependencies=READS)
async def readings(name: Name, desk: TheDesk, condition: Number = 1, narrow: Narrow = False) -> Response:
    """What can be read off the figure, and where; for figure.js."""
    return Response(
        await apart(lambda: desk.figure(name, "json", condition, narrow), "draw"), media_type="application/json"
    )


@router.get("/bench/{name}/mlflow", dependencies=READS)
async def in_mlflow(request: Request, name: Name, desk: TheDesk) -> Response:
    """To the campaign's run on MLflow's own page, looked for only when somebody goes there."""
    from campaigns.mlflow_place import Place
    from campaigns.mlflow_ui import ui_link

    address = mlflow_of(request)
    await run_in_threadpool(desk.campaign, name)
    path = await apart(lambda: ui_link(Place(mlflow_folder(desk.store), mlflow_server()), (name,)))
    return RedirectResponse(f"{address.rstrip('/')}/{path}", 303)


def mlflow_of(request: Request) -> str:
    """The address of MLflow's page; raises `UnknownError` where none was named."""
    address: str | None = request.app.state.settings.mlflow_url
    if address is None:
        raise UnknownError("mlflow: expected an address of MLflow's page; found none. --mlflow-url names it.")
    return address


@router.post("/bench/{name}/suggest", dependencies=[Depends(checked_form)])
async def suggest(name: Name, desk: TheDesk) -> Response:
    """Ask what to test next; the stored answer where nothing has changed."""
    await apart(lambda: desk.advise(name))
    return RedirectResponse(f"{HOME}/{quote(name)}", 303)
