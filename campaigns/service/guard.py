"""What stands before every route: the host asked for, where a browser's request comes from, how large a body may be;
and what every answer carries: a request id and the headers that keep a page to itself."""

from __future__ import annotations

import logging
import re
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from campaigns.service.problems import problem
from campaigns.service.settings import Settings

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}
SAFE = ("GET", "HEAD", "OPTIONS")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
FAULT = "A fault of stackpress, not of yours. Tell whoever runs the service this request_id; its log has more."
FORM_SLACK = 100_000  # bytes of a multipart body beside the file

log = logging.getLogger("stackpress.service")


class Guard:
    """The middleware; `scope["state"]["request_id"]` is the request's id from here on."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._headers = HEADERS | (HTTPS_HEADERS if settings.is_https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, pass on, and complete the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def completed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                answered = MutableHeaders(scope=message)
                answered["X-Request-ID"] = request_id
                for name, value in self._headers.items():
                    answered.setdefault(name, value)
            await send(message)

        refused = self._refused(scope, headers)
        if refused is not None:
            await problem(*refused, (), request_id)(scope, receive, completed)
            return
        try:
            await self.app(scope, _counted(receive, self._limit(headers), headers.get("content-length", "")), completed)
        except Exception as error:
            log.error("a fault answering %s %s [%s]", scope["method"], scope["path"], request_id, exc_info=error)
            if started:
                raise
            await problem(500, FAULT, (), request_id)(scope, receive, completed)

    def _limit(self, headers: Headers) -> int:
        """How many bytes a body may have."""
        if headers.get("content-type", "").startswith("multipart/form-data"):
            return int(self.settings.max_upload_mb * 1e6) + FORM_SLACK
        return int(self.settings.max_body_kb * 1e3)

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        hosts = self.settings.hosts
        if hosts is not None and _name_of(host) not in hosts:
            return 421, f"Host: expected {', '.join(hosts)}; found {host[:100]!r}. --public-url names another."
        if scope["method"] not in SAFE and self._is_foreign(headers, host):
            return 403, "Origin: expected a page of this service; found another site's."
        return None

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Whether a browser sends this for a page of another site."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return True
        origin = headers.get("origin")
        if origin is None:
            return False
        own = {host, urlsplit(self.settings.public_url).netloc if self.settings.public_url else host}
        return urlsplit(origin).netloc not in own


def _counted(receive: Receive, limit: int, announced: str) -> Receive:
    """`receive`, until more than `limit` bytes are announced or have come."""
    too_large, came = announced.isdigit() and int(announced) > limit, 0

    async def counted() -> Message:
        nonlocal came
        message = {} if too_large else await receive()
        came += len(message.get("body", b""))
        if too_large or came > limit:
            raise HTTPException(413, f"body: expected at most {limit / 1e6:g} MB; found more. Send it in parts.")
        return message

    return counted


def _name_of(host: str) -> str:
    """A Host header without its port."""
    return re.sub(r":\d+$", "", host).lower()
