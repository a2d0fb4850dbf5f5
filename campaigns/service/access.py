"""Who asks, and what they may do.

A request shows a bearer token, or the cookie of a session that was opened with one at /login. Where only this machine
can ask and no token was ever made, everybody is this machine's user and may do everything.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from campaigns.ledger import acting_as, actor
from campaigns.service.limiting import limited
from campaigns.service.problems import RefusalError
from campaigns.service.tokens import Role

COOKIE = "stackpress_session"
FORM_FIELD = "csrf_token"

bearer = HTTPBearer(auto_error=False, description="A token made by `stackpress token create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


@dataclass(frozen=True)
class User:
    """Who asks; `session` is the secret of the bench page's session, None where a token was shown or none is asked."""

    name: str
    role: Role
    session: str | None = None


def who_asks(request: Request, shown: HTTPAuthorizationCredentials | None) -> User | None:
    """The user of a request; None where nothing valid is shown."""
    desk, settings = request.app.state.desk, request.app.state.settings
    if shown is not None:
        holder = desk.tokens.holder(shown.credentials)
        return User(*holder) if holder else None
    if session := request.cookies.get(COOKIE):
        holder = desk.tokens.in_session(session)
        if holder:
            return User(holder[0], holder[1], session)
    if settings.is_private and not desk.tokens.any():
        return User(actor(), Role.MANAGE)
    return None


def needs(role: Role) -> Callable[[Request, Credentials], AsyncIterator[User]]:
    """A dependency: whoever asks may do this much, and what is stored is by them."""

    async def dependency(request: Request, shown: Credentials) -> AsyncIterator[User]:
        user = await run_in_threadpool(who_asks, request, shown)
        limited(request, user.name if user else None, shown is not None and user is None)
        if user is None:
            raise RefusalError(
                401,
                "token: expected a valid token as Authorization: Bearer TOKEN; found none. "
                "stackpress token create makes one.",
                {"WWW-Authenticate": "Bearer"},
            )
        if not user.role.includes(role):
            raise RefusalError(
                403, f"token of {user.name}: expected one that may {role}; found one that may {user.role}."
            )
        request.state.user = user
        with acting_as(user.name):
            yield user

    return dependency


reader, recorder, manager = needs(Role.READ), needs(Role.RECORD), needs(Role.MANAGE)
READS, RECORDS, MANAGES = [Depends(reader)], [Depends(recorder)], [Depends(manager)]
Reader = Annotated[User, Depends(reader)]
Recorder = Annotated[User, Depends(recorder)]
Manager = Annotated[User, Depends(manager)]


def form_token(user: User) -> str:
    """What a form of the bench page carries in its field `csrf_token`: it belongs to the session, which no other site
    can read. Without a session there is none; the origin of the request is checked for every one."""
    return hashlib.sha256(f"form:{user.session}".encode()).hexdigest() if user.session else ""


async def checked_form(request: Request, user: Recorder) -> User:
    """A dependency of the routes that take forms: refuses one that the bench page did not make for this session."""
    if user.session:
        given = (await request.form()).get(FORM_FIELD)
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), form_token(user).encode()):
            raise RefusalError(403, "form: expected one of this session; found another. Load the page again.")
    return user


Checked = Annotated[User, Depends(checked_form)]
