"""What the API's routes share: the desk, headers, pages, and the answers that all of them may give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync
from fastapi import Depends, Header, Path, Query, Request
from starlette.convertors import Convertor, register_url_convertor

from campaigns.service.desk import Desk
from campaigns.service.problems import refusals
from campaigns.service.shapes import check_kept
from surrogates.errors import UserError

T = TypeVar("T")
THREADS = {"fit": 2, "draw": 4}
_few: RunVar[dict[str, CapacityLimiter]] = RunVar("few")
OF_A_CELL = ("stopping", "corrections", "withdrawal")
"""What stands after a cell's id in a path."""
READING = refusals(401, 403, 404, 422, 429, 500, 503)
WRITING = {**READING, **refusals(400, 409, 412, 413)}


class CellIdConvertor(Convertor[str]):
    """A cell's id in a path, slashes and all."""

    regex = rf"(?:(?!/(?:{'|'.join(OF_A_CELL)})$).)+"

    def convert(self, value: str) -> str:
        """The id as it stands in the path."""
        return value

    def to_string(self, value: str) -> str:
        """The id as it stands in the path."""
        return value


register_url_convertor("cell", CellIdConvertor())


def desk_of(request: Request) -> Desk:
    """The desk of this process."""
    desk: Desk = request.app.state.desk
    return desk


async def apart(work: Callable[[], T], what: Literal["fit", "draw"] = "fit") -> T:
    """Do what fits or draws in one of a few threads kept for that: readers always find a free one."""
    try:
        limiters = _few.get()
    except LookupError:
        limiters = {each: CapacityLimiter(threads) for each, threads in THREADS.items()}
        _few.set(limiters)
    return await run_sync(work, limiter=limiters[what])


def _key(
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern="^[A-Za-z0-9._:-]{1,64}$",
            description="A name for this request: sent again under it, it is carried out once.",
        ),
    ] = None,
) -> str | None:
    return idempotency_key


def _seen(
    if_match: Annotated[
        str | None,
        Header(
            pattern=r'^((W/)?"[0-9]{1,9}"|\*)$',
            description='The ETag under which the cell was read, as in "12": refused if it changed since.',
        ),
    ] = None,
) -> int | None:
    """The revision that the editor has seen."""
    return None if if_match in (None, "*") else int(str(if_match).removeprefix("W/").strip('"'))


def printable(name: str, text: str) -> str:
    """A text that can be stored and shown everywhere; raises `UserError` where it cannot."""
    try:
        check_kept(text)
    except ValueError as error:
        raise UserError(f"{name[:40]}: expected {error}; found {text[:100]!r}.") from None
    return text


def _cell_id(cell_id: Annotated[str, Path(min_length=1, max_length=100, examples=["zn-ti-001"])]) -> str:
    return printable("cell_id", cell_id)


TheDesk = Annotated[Desk, Depends(desk_of)]
Key = Annotated[str | None, Depends(_key)]
Seen = Annotated[int | None, Depends(_seen)]
CellId = Annotated[str, Depends(_cell_id)]
Name = Annotated[str, Path(max_length=64, examples=["zn-ti"])]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=10**9)]


def page(request: Request, things: Sequence[T], limit: int, offset: int) -> tuple[list[T], dict[str, Any]]:
    """A part of a list, and what `shapes.Page` says of it."""
    return list(things[offset : offset + limit]), place(request, len(things), limit, offset)


def place(request: Request, total: int, limit: int, offset: int) -> dict[str, Any]:
    """What `shapes.Page` says of a part of a list of `total` things."""
    end = offset + limit
    following = str(request.url.include_query_params(offset=end, limit=limit)) if end < total else None
    relative = following and following.split(request.url.netloc, 1)[-1]
    return {"total": total, "limit": limit, "offset": offset, "next": relative}
