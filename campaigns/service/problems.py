"""What went wrong, as application/problem+json (RFC 9457): for people in `detail`, for machines in `problems`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from surrogates.errors import ConflictError, MovedError, Problem, TableError, UnavailableError, UnknownError, UserError

MEDIA_TYPE = "application/problem+json"
STATUS: tuple[tuple[type[UserError], int], ...] = (
    (UnknownError, 404),
    (MovedError, 412),
    (ConflictError, 409),
    (UnavailableError, 503),
    (UserError, 422),
)
MOST = 100
"""Problems listed; `detail` tells how many there are."""

PARTS = re.compile(r"(?:(?P<field>.*?): )?expected (?P<expected>.*?); found:? (?P<found>.*)", re.DOTALL)
SENTENCE = re.compile(r"\.\s+(?=[A-Z])|\.$")


class OneProblem(BaseModel):
    """One thing wrong: where, what was expected, what was found, and what to do."""

    field: str = Field(default="", examples=["row 3, coulombic_efficiency"])
    expected: str = Field(default="", examples=["a fraction between 0 and 1"])
    found: str = Field(default="", examples=["98.4"])
    remedy: str = Field(default="", examples=["That is a percentage: divide by 100."])


class ProblemDocument(BaseModel):
    """Why a request was not carried out; nothing was stored in part."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:stackpress:problem:unprocessable-content",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "n: expected 1 to 50 cells; found 51",
                    "request_id": "6f1c0c5e9b0e4a21",
                    "problems": [{"field": "n", "expected": "1 to 50 cells", "found": "51", "remedy": ""}],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    request_id: str = Field(default="", description="Under this the service's log tells of the request.")
    problems: list[OneProblem] = Field(default=[])


class RefusalError(Exception):
    """A request that is refused for another reason than a `UserError`: its status, why, and headers of the answer."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of these statuses as an operation declares them."""
    schema = {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted(statuses)
    }


def problem(
    status: int,
    detail: str,
    problems: Sequence[OneProblem] = (),
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An answer that says what went wrong."""
    title = HTTPStatus(status).phrase
    document = ProblemDocument(
        type=f"urn:stackpress:problem:{title.lower().replace(' ', '-')}",
        title=title,
        status=status,
        detail=_printable(detail),
        request_id=request_id,
        problems=list(problems[:MOST]),
    )
    return JSONResponse(document.model_dump(), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def status_of(error: UserError) -> int:
    """The status under which an error is told."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def parts_of(error: UserError) -> list[OneProblem]:
    """What a message tells, in its parts: "field: expected ...; found ... . remedy"."""
    if isinstance(error, TableError):
        return [_of_table(item) for item in error.problems]
    return [_of_text(line.strip()) for line in str(error).splitlines() if "expected " in line] or [_of_text(str(error))]


def _of_table(item: Problem) -> OneProblem:
    field = ", ".join(part for part in (item.row, item.column) if part)
    return OneProblem(
        field=_printable(field), expected=item.expected, found=_printable(item.found), remedy=_printable(item.remedy)
    )


def _of_text(text: str) -> OneProblem:
    found = PARTS.match(text)
    if found is None:
        return OneProblem(remedy=_printable(text))
    value, *remedy = SENTENCE.split(found["found"], maxsplit=1)
    return OneProblem(
        field=_printable(found["field"] or ""),
        expected=_printable(found["expected"]),
        found=_printable(value),
        remedy=_printable(remedy[0] if remedy else ""),
    )


def _printable(text: str) -> str:
    """Text without halves of surrogate pairs, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def install(app: FastAPI) -> None:
    """Let every error of the service be told as a problem."""

    @app.exception_handler(UserError)
    def _user_error(request: Request, error: UserError) -> JSONResponse:
        return problem(status_of(error), str(error), parts_of(error), _id(request))

    @app.exception_handler(RefusalError)
    def _refusal(request: Request, error: RefusalError) -> JSONResponse:
        return problem(error.status, error.detail, (), _id(request), error.headers)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
        return problem(error.status_code, str(error.detail), (), _id(request), headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [of_detail(detail) for detail in error.errors()]
        detail = "; ".join(f"{item.field}: expected {item.expected}; found {item.found}" for item in found[:5])
        status = 400 if any(detail["type"] == "json_invalid" for detail in error.errors()) else 422
        return problem(status, detail, found, _id(request))


def _allowed(request: Request) -> str:
    """The methods of all routes of a path."""
    found: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(found))


def of_detail(detail: Mapping[str, Any]) -> OneProblem:
    """One finding of pydantic."""
    place = [str(part) for part in detail["loc"] if part != "body"]
    expected = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    text = repr(detail.get("input"))
    return OneProblem(
        field=_printable(".".join(place) or "body"),
        expected=_printable(expected),
        found=_printable("nothing" if detail["type"] == "missing" else text if len(text) <= 60 else f"{text[:57]}..."),
    )


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))
