"""Log-in and log-out for the bench page: a token becomes the cookie of a session.

The cookie is HttpOnly and SameSite=Strict (Secure where browsers come by https); the token itself is kept nowhere. The
page's own form is at GET /login; it is sent back there with ?failed=1 where the token was none.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse

from campaigns.service.access import COOKIE
from campaigns.service.limiting import address_of, limits_of
from campaigns.service.routing import TheDesk

router = APIRouter(include_in_schema=False)
HOME, FORM = "/bench", "/login"
LONGEST = 500  # characters of the page that was asked for before the log-in


@router.post("/login")
def log_in(
    request: Request,
    desk: TheDesk,
    token: Annotated[str, Form(max_length=200)],
    then: Annotated[str, Form(max_length=LONGEST)] = HOME,
) -> RedirectResponse:
    """Open a session with a token, and go to the page that was asked for."""
    settings, limits, address = request.app.state.settings, limits_of(request), address_of(request)
    limits.check_failures(address)
    session = desk.tokens.log_in(token.strip(), settings.session_h)
    if session is None:
        limits.failure(address)
        return RedirectResponse(f"{FORM}?{urlencode({'failed': 1, 'then': then})}", 303)
    answer = RedirectResponse(_here(then), 303)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(settings.session_h * 3600),
        httponly=True,
        samesite="strict",
        secure=settings.is_https,
    )
    return answer


@router.post("/logout")
def log_out(request: Request, desk: TheDesk) -> RedirectResponse:
    """End the session. Another site cannot ask for this: the origin of every write is checked."""
    if session := request.cookies.get(COOKIE):
        desk.tokens.log_out(session)
    answer = RedirectResponse(FORM, 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.app.state.settings.is_https)
    return answer


def _here(then: str) -> str:
    """A path of this service: nobody is sent elsewhere."""
    sound = then.startswith("/") and not then.startswith("//") and "\\" not in then and then.isprintable()
    return then if sound else HOME
