"""Notices on their way: sent until the receiver answers 2xx, later and later; signed; never to where only this machine
should reach.

The header `Stackpress-Signature` is "sha256=" and the HMAC-SHA256 of the body with the webhook's secret, in hexadecimal
digits. A notice may come twice (the server was killed before it knew of the answer): `id` in the body is the same then.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import socket
import time
from typing import Any

import httpx
import sqlalchemy as sql

from campaigns.ledger import Ledger
from campaigns.service.notices import deliveries_table, webhooks_table
from campaigns.service.runner import Repeated
from surrogates.errors import UserError

LOOK_EVERY_S = 2.0
TIMEOUT_S = 10.0
LEASE_S = 60.0
FIRST_WAIT_S, WAIT_FACTOR, MOST_WAIT_S = 5.0, 4.0, 6 * 3600.0
MOST_ATTEMPTS = 10
SIGNATURE = "Stackpress-Signature"


def deliverer(ledger: Ledger, private: bool) -> Repeated:
    """The thread that sends what is due; `private`: to addresses of this machine and its network, too."""
    return Repeated(lambda: deliver(ledger, private), LOOK_EVERY_S, "deliveries")


def deliver(ledger: Ledger, private: bool) -> bool:
    """Send one notice that is due, where there is one; whether there was."""
    taken = _claim(ledger)
    if taken is None:
        return False
    try:
        send(taken["url"], taken["secret"], taken["body"], private)
    except (UserError, httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
        wait_s = min(FIRST_WAIT_S * WAIT_FACTOR ** (taken["attempts"] - 1), MOST_WAIT_S)
        state = "failed" if taken["attempts"] >= MOST_ATTEMPTS else "waiting"
        told = {"state": state, "due": time.time() + wait_s, "problem": str(error) or type(error).__name__}
    else:
        told = {"state": "delivered", "problem": None}
    with ledger.changing() as connection:
        here = deliveries_table.c.id == taken["id"]
        connection.execute(sql.update(deliveries_table).where(here).values(told))
    return True


def send(url: str, secret: str, body: str, private: bool) -> None:
    """Post one notice; raises where the receiver is not to be reached, or answers anything but 2xx."""
    address = checked_address(url, private)
    status = asyncio.run(asyncio.wait_for(_post(url, address, secret, body.encode()), TIMEOUT_S))
    if not 200 <= status < 300:
        raise UserError(f"webhook: expected an answer 2xx; found {status}.")


def checked_address(url: str, private: bool) -> str:
    """The address that a webhook's host has now. Raises `UserError` where it is none to send to."""
    parsed = _parsed(url)
    port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(parsed.host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise UserError(f"url: expected a host that can be found; found {parsed.host}.") from None
    if not all(_may_be_sent_to(item, private) for item in found):
        raise UserError(
            f"url: expected a public address; found {parsed.host} in a network of its own. "
            "stackpress serve --private-webhooks allows that."
        )
    return min(found)


def sign(secret: str, body: bytes) -> str:
    """What the header of a notice holds."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def _post(url: str, address: str, secret: str, body: bytes) -> int:
    """The status of the answer. The connection goes to the address that was checked: the name may have another by now."""
    parsed = httpx.URL(url)
    headers = {"Host": parsed.netloc.decode(), "Content-Type": "application/json", SIGNATURE: sign(secret, body)}
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
        client.stream(
            "POST",
            parsed.copy_with(host=address),
            content=body,
            headers=headers,
            extensions={"sni_hostname": parsed.host},
        ) as answer,
    ):
        return answer.status_code


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise UserError(
            f"url: expected an address as in https://lab.org/notices, without a password; found {url[:200]!r}."
        )
    return parsed


def _may_be_sent_to(address: str, private: bool) -> bool:
    """Whether an address is one of the internet, however it is written; `private`: or of a network of one's own.

    Link-local addresses never are: there a cloud's machine learns its passwords.
    """
    found = ipaddress.ip_address(address.split("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found.sixtofour or found
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    return private or found.is_global


def _claim(ledger: Ledger) -> dict[str, Any] | None:
    """A notice that is due: no other worker takes it while it is sent."""
    now, columns = time.time(), deliveries_table.c
    due = (
        sql.select(columns.id, columns.body, columns.attempts, webhooks_table.c.url, webhooks_table.c.secret)
        .where(columns.campaign == webhooks_table.c.campaign, columns.state == "waiting", columns.due <= now)
        .order_by(columns.number)
        .limit(1)
    )
    with ledger.reading() as connection:
        if connection.execute(due).first() is None:
            return None
    with ledger.changing() as connection:
        row = connection.execute(due.with_for_update(skip_locked=True, of=deliveries_table)).first()
        if row is None:
            return None
        taken = {"attempts": row.attempts + 1, "due": now + LEASE_S}
        connection.execute(sql.update(deliveries_table).where(columns.id == row.id).values(taken))
    return {**row._mapping, "attempts": row.attempts + 1}
