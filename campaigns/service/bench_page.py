"""What all pages of the bench share: templates, the look, refusals as pages, what a form carries.

Every form carries the key of one request (sent twice, it is stored once), the revision that its writer has seen, and the
session's token. What is refused comes back as it was typed, each problem at its field.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from campaigns.service.access import FORM_FIELD, User, form_token
from campaigns.service.bench_views import END_REASONS, Filled, bench
from campaigns.service.desk import Desk
from campaigns.service.problems import RefusalError, status_of
from campaigns.service.routing import printable
from campaigns.service.sessions import FORM, HOME, LONGEST
from campaigns.service.tokens import Role
from campaigns.templating import templates
from surrogates.errors import ConflictError, UserError

if TYPE_CHECKING:
    from jinja2 import Environment

Typed = Mapping[str, str]
KEY_FIELD, SEEN_FIELD = "key", "seen_revision"
STATIC = {"bench.css": "text/css", "figure.js": "text/javascript"}


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
                    return RedirectResponse(f"{FORM}?then={quote(_asked(request))}", 303)
                return refusal(error.status, error.detail, error.headers)
            except UserError as error:
                return refusal(status_of(error), str(error))
            except RequestValidationError as error:
                told = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
                return refusal(422, told)
            except HTTPException as error:
                return refusal(error.status_code, str(error.detail))
            finally:
                await request.close()  # what came as a file

        return handled


def pages() -> APIRouter:
    """A router of pages."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def _asked(request: Request) -> str:
    """Where a log-in leads back to."""
    asked = f"{request.url.path}?{request.url.query}".removesuffix("?")
    return asked if request.method == "GET" and len(asked) <= LONGEST else HOME


async def _sent(request: Request) -> Typed:
    """The fields of a form, as text."""
    sent = (await request.form()).items()
    return {name: printable(name, value.strip()) for name, value in sent if isinstance(value, str)}


Sent = Annotated[Typed, Depends(_sent)]


def once(typed: Typed) -> dict[str, Any]:
    """The arguments of a verb that a form carries: `key` and `seen_revision`."""
    seen, key = typed.get(SEEN_FIELD, ""), typed.get(KEY_FIELD, "")
    if not (seen.isdigit() and len(seen) < 10 and 8 <= len(key) <= 64):
        raise ConflictError("form: expected the fields of this page; found others. Send it again from here.")
    return {"key": key, "seen_revision": int(seen)}


def stored(name: str, typed: Typed) -> Response:
    """To the campaign's page, which tells what was stored since its writer looked."""
    return RedirectResponse(f"{HOME}/{quote(name)}?{urlencode({'since': typed[SEEN_FIELD]})}", 303)


def campaign_page(
    desk: Desk, name: str, user: User, filled: Filled | None = None, notice: str = "", status: int = 200
) -> Response:
    """The page of a campaign; `filled`: a form of it that was refused."""
    told = desk.campaign(name)
    shown = bench(told.state, told.moved())
    return page(
        "campaign.html.j2",
        user,
        status=status,
        bench=shown,
        filled=filled or Filled(),
        notice=notice,
        may_tell=may_record(user) and not shown.closed,
        end_reasons=END_REASONS,
    )


def may_record(user: User) -> bool:
    """Whether a user sees what changes cells."""
    return user.role.includes(Role.RECORD)


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """That something could not be done."""
    answer = page("refusal.html.j2", detail=detail, status=status)
    answer.headers.update(headers or {})
    return answer


def page(template: str, user: User | None = None, *, status: int = 200, **shown: Any) -> Response:
    """A page from its template."""
    token = form_token(user) if user else ""
    text = _templates().get_template(template).render(user=user, form_token=token, **shown)
    return HTMLResponse(text, status)


@cache
def _templates() -> Environment:
    environment = templates("campaigns.service")
    environment.globals |= {"form_field": FORM_FIELD, "new_key": lambda: secrets.token_urlsafe(16)}
    return environment


@cache
def static(name: str) -> bytes:
    """A file that all pages load."""
    return files("campaigns.service").joinpath("static", name).read_bytes()
