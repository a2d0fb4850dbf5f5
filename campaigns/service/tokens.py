"""Tokens and sessions, in the ledger's database: 256 random bits each, of which only the SHA-256 is kept.

A random secret of that length cannot be guessed from its digest, so no salt and no slow hash is needed.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sql

from campaigns.ledger import Ledger, actor, utc_now
from surrogates.errors import ConflictError, UnknownError, UserError

PREFIX = "sp_"

tokens_table = sql.table(
    "tokens", *(sql.column(name) for name in ("id", "name", "role", "digest", "created", "created_by", "revoked"))
)
sessions_table = sql.table("sessions", *(sql.column(name) for name in ("digest", "token_id", "expires")))


class Role(StrEnum):
    """What somebody may do: read; record cells and ask what to test next; manage campaigns. Each includes those before."""

    READ = "read"
    RECORD = "record"
    MANAGE = "manage"

    def includes(self, other: Role) -> bool:
        """Whether whoever may do this may do `other`."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Token:
    """A token as it is kept; `revoked` is the time from which it no longer counts."""

    name: str
    role: Role
    created: str
    created_by: str
    revoked: str | None


class Tokens:
    """The tokens of a store."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def create(self, name: str, role: Role | str) -> str:
        """A new token for somebody, which is told this once. Raises `UserError` where the name has one already."""
        name, role = _check_name(name), _check_role(role)
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._ledger.changing() as connection:
            active = tokens_table.c.revoked.is_(None)
            if connection.execute(sql.select(tokens_table.c.id).where(tokens_table.c.name == name, active)).first():
                raise ConflictError(
                    f"token {name}: expected a name without a token; found one that is valid. "
                    f"stackpress token revoke {name} takes it back."
                )
            row = {
                "name": name,
                "role": role.value,
                "digest": digest(secret),
                "created": utc_now(),
                "created_by": actor(),
            }
            connection.execute(sql.insert(tokens_table).values(row))
        return secret

    def list(self) -> list[Token]:
        """All tokens, oldest first."""
        columns = [tokens_table.c[name] for name in ("name", "role", "created", "created_by", "revoked")]
        with self._ledger.reading() as connection:
            rows = connection.execute(sql.select(*columns).order_by(tokens_table.c.id)).all()
        return [Token(row.name, Role(row.role), row.created, row.created_by, row.revoked) for row in rows]

    def revoke(self, name: str) -> None:
        """Take somebody's token back: it, and the sessions made of it, count no longer."""
        valid = sql.and_(tokens_table.c.name == name, tokens_table.c.revoked.is_(None))
        with self._ledger.changing() as connection:
            ids = connection.execute(sql.select(tokens_table.c.id).where(valid)).scalars().all()
            if not ids:
                known = ", ".join(token.name for token in self.list() if token.revoked is None) or "none"
                raise UnknownError(f"token {name}: expected somebody who has a token; found {known}.")
            connection.execute(sql.update(tokens_table).where(valid).values(revoked=utc_now()))
            connection.execute(sql.delete(sessions_table).where(sessions_table.c.token_id.in_(ids)))

    def any(self) -> bool:
        """Whether a token was ever made: from then on one is asked for."""
        with self._ledger.reading() as connection:
            return connection.execute(sql.select(tokens_table.c.id).limit(1)).first() is not None

    def holder(self, secret: str) -> tuple[str, Role] | None:
        """Whose token this is and what it allows; None where it is none, or was revoked."""
        return self._holder(tokens_table.c.digest == digest(secret))

    def log_in(self, secret: str, hours: float) -> str | None:
        """The secret of a new session, for the holder of a token; None where it is none."""
        query = sql.select(tokens_table.c.id).where(
            tokens_table.c.digest == digest(secret), tokens_table.c.revoked.is_(None)
        )
        with self._ledger.changing() as connection:
            connection.execute(sql.delete(sessions_table).where(sessions_table.c.expires < utc_now()))
            token_id = connection.execute(query).scalar()
            if token_id is None:
                return None
            session = secrets.token_urlsafe(32)
            row = {"digest": digest(session), "token_id": token_id, "expires": utc_now(hours)}
            connection.execute(sql.insert(sessions_table).values(row))
        return session

    def in_session(self, session: str) -> tuple[str, Role] | None:
        """Who is in this session; None where there is none, or it has expired."""
        valid = sql.and_(
            sessions_table.c.digest == digest(session),
            sessions_table.c.expires >= utc_now(),
            sessions_table.c.token_id == tokens_table.c.id,
        )
        return self._holder(valid)

    def log_out(self, session: str) -> None:
        """End a session."""
        with self._ledger.changing() as connection:
            connection.execute(sql.delete(sessions_table).where(sessions_table.c.digest == digest(session)))

    def _holder(self, which: sql.ColumnElement[bool]) -> tuple[str, Role] | None:
        query = sql.select(tokens_table.c.name, tokens_table.c.role).where(which, tokens_table.c.revoked.is_(None))
        with self._ledger.reading() as connection:
            row = connection.execute(query).first()
        return (row.name, Role(row.role)) if row else None


def digest(secret: str) -> str:
    """The SHA-256 of a secret, in hexadecimal digits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _check_name(name: str) -> str:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise UserError(f"token: expected a name of 1 to 100 letters; found {name[:100]!r}.")
    return name.strip()


def _check_role(role: Role | str) -> Role:
    if role not in list(Role):
        raise UserError(f"role: expected one of {', '.join(Role)}; found {role!r}.")
    return Role(role)
