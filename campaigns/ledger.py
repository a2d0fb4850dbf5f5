"""The truth: an append-only list of events in one ACID database (SQLite in the store's folder, PostgreSQL by URL).

An event is never changed. Each verb is one transaction: it reads the campaign's events, checks what it wants to do, and
appends. Within a campaign events are numbered 1, 2, ... (their revision), and the database takes each number once: what
was checked against the events before it (a cell id used once, say) still holds when it is stored. An idempotency key is
stored at most once, too.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import sqlite3
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from campaigns.events import SCHEMA_VERSION, Draft, Event
from campaigns.migrations import STEPS, bring_up, check_known, schema_of
from campaigns.store import shown
from surrogates.errors import ConflictError, UnavailableError, UserError

BUSY_TIMEOUT_S = 60
MOST_KEPT = 64
OVERFLOW = 40  # connections beside the pool's five: a service's threads all write at once, and wait in the database

_acting: ContextVar[str | None] = ContextVar("acting", default=None)

events_table = sql.table(
    "events",
    *(sql.column(name) for name in ("id", "campaign", "revision", "kind", "schema_version")),
    sql.column("payload", sql.JSON),
    *(sql.column(name) for name in ("actor", "time", "key")),
)
TOLD = [column for column in events_table.c if column.name != "id"]


class Transaction:
    """One verb at work: the campaign's events so far, and `append` for new ones; all are stored or none."""

    def __init__(self, connection: Connection, campaign: str, events: tuple[Event, ...]) -> None:
        self._connection = connection
        self.campaign = campaign
        self.events = events

    def stored_as(self, key: str | None, request: Any) -> tuple[Event, ...]:
        """What `append_all` stored under `key`; raises `UserError` where that was not for the same request."""
        if key is None:
            return ()
        query = sql.select(events_table.c.campaign, events_table.c.payload).where(events_table.c.key == key)
        owner, payload = self._connection.execute(query).one_or_none() or (self.campaign, None)
        if payload is not None and (owner != self.campaign or payload.get("request") != _digest(request)):
            raise ConflictError(f"key {key}: expected a key of its own; found it used for another request, of {owner}.")
        return tuple(event for event in self.events if event.key == key or event.key.startswith(f"{key}/"))

    def append(self, kind: str, payload: dict[str, Any], key: str | None = None) -> Event:
        """Append one event and return it."""
        event = Event(
            campaign=self.campaign,
            revision=len(self.events) + 1,
            kind=kind,
            schema_version=SCHEMA_VERSION,
            payload=payload,
            actor=actor(),
            time=utc_now(),
            key=key or uuid.uuid4().hex,
        )
        self.restore([event])
        return event

    def append_all(self, drafts: Sequence[Draft], key: str | None, request: Any) -> tuple[Event, ...]:
        """Append what one verb says: under `key`, `key`/2, ..., the first with a digest of the request."""
        marked = {"request": _digest(request)} if key is not None else {}
        return tuple(
            self.append(draft.kind, draft.payload if number else draft.payload | marked, _numbered(key, number))
            for number, draft in enumerate(drafts)
        )

    def restore(self, events: Sequence[Event]) -> None:
        """Append events as they are: with their actor, time and key; raises where another campaign has the keys."""
        if events:
            query = sql.select(events_table.c.campaign).where(events_table.c.key == events[0].key)
            if owner := self._connection.execute(query).scalar():
                raise UserError(f"campaign {self.campaign}: expected new events; found them in campaign {owner}.")
            self._connection.execute(sql.insert(events_table), [vars(event) for event in events])
            self.events = (*self.events, *events)


class Ledger:
    """The events of every campaign of a store; `place` is how messages call it.

    With `keep` events that were read are not read again, of the MOST_KEPT campaigns asked for last: an event never
    changes, so only those after the last one are missing.
    """

    def __init__(self, engine: Engine, place: str, keep: bool = False) -> None:
        self._engine = engine
        self.place = place
        self._known: dict[str, tuple[Event, ...]] | None = {} if keep else None
        weakref.finalize(self, engine.dispose)
        with self.reading() as connection:
            schema = schema_of(connection)
        check_known(schema)
        if schema != STEPS[-1]:
            with self._told("brought up to date"):
                bring_up(engine)

    @classmethod
    def open(cls, store: str | Path, keep: bool = False) -> Ledger:
        """The ledger of a store: `ledger.db` in a folder (made if absent), or the database at a URL."""
        if "://" in str(store):
            return cls(_database(str(store)), shown(store), keep)
        folder = Path(store)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(str(folder), error) from None
        return cls(_sqlite(folder / "ledger.db"), str(folder), keep)

    @contextmanager
    def writing(self, campaign: str) -> Iterator[Transaction]:
        """A transaction that keeps other writers of the campaign out until it ends; an error leaves nothing behind."""
        with self._told("written"), self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                lock = sql.func.pg_advisory_xact_lock(sql.func.hashtextextended(campaign, 0))
                connection.execute(sql.select(lock))
            yield Transaction(connection, campaign, self._read(connection, campaign))

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction on the tables beside the events: tokens, for one."""
        with self._told("written"), self._engine.begin() as connection:
            yield connection

    def events(self, campaign: str) -> tuple[Event, ...]:
        """The events of one campaign, oldest first; empty where there is none."""
        with self.reading() as connection:
            return self._read(connection, campaign)

    def histories(self) -> dict[str, tuple[Event, ...]]:
        """The events of every campaign, the oldest campaign first, as they stand at one moment."""
        found: dict[str, list[Event]] = {}
        with self.reading() as connection:
            for row in connection.execute(sql.select(*TOLD).order_by(events_table.c.id)):
                found.setdefault(row.campaign, []).append(Event(**row._mapping))
        return {name: tuple(events) for name, events in found.items()}

    def restore_all(self, histories: Mapping[str, Sequence[Event]]) -> None:
        """Append the events of all campaigns as they are, or none; raises `UserError` where there is a campaign already."""
        with self.changing() as connection:
            if name := connection.execute(sql.select(events_table.c.campaign).limit(1)).scalar():
                raise UserError(
                    f"{self.place}: expected a store without campaigns; found campaign {name}. Nothing was stored. "
                    "Choose another store with --store."
                )
            rows = [vars(event) for events in histories.values() for event in events]
            connection.execute(sql.insert(events_table), rows)

    def campaigns(self) -> tuple[str, ...]:
        """The names of all campaigns, oldest first."""
        first = sql.select(events_table.c.campaign).where(events_table.c.revision == 1).order_by(events_table.c.id)
        with self.reading() as connection:
            return tuple(connection.execute(first).scalars())

    def has(self, campaign: str) -> bool:
        """Whether there is a campaign of this name."""
        first = sql.select(events_table.c.id).where(events_table.c.campaign == campaign, events_table.c.revision == 1)
        with self.reading() as connection:
            return connection.execute(first).first() is not None

    def revision(self, campaign: str) -> int:
        """The revision of the campaign's last event; 0 where there is no such campaign."""
        last = sql.select(sql.func.max(events_table.c.revision)).where(events_table.c.campaign == campaign)
        with self.reading() as connection:
            return int(connection.execute(last).scalar() or 0)

    def revisions(self) -> dict[str, int]:
        """The revision of the last event of every campaign, oldest campaign first."""
        first, last = sql.func.min(events_table.c.id), sql.func.max(events_table.c.revision)
        query = sql.select(events_table.c.campaign, last).group_by(events_table.c.campaign).order_by(first)
        with self.reading() as connection:
            return {name: int(revision) for name, revision in connection.execute(query)}

    def head(self) -> int:
        """How many events there are in all: it grows with each."""
        with self.reading() as connection:
            return int(connection.execute(sql.select(sql.func.count()).select_from(events_table)).scalar_one())

    def close(self) -> None:
        """Give the database's files and connections back."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads, to tables of the ledger's database beside the events, too."""
        try:
            with self._engine.connect() as connection:
                yield connection.execution_options(reading=True)
        except sql.exc.DatabaseError as error:
            raise _unusable(self.place, error) from None

    def _read(self, connection: Connection, campaign: str) -> tuple[Event, ...]:
        if self._known is None:
            return _events(connection, campaign)
        known = self._known.pop(campaign, ())
        events = (*known, *_events(connection, campaign, after=len(known)))
        self._known[campaign] = events
        for oldest in list(self._known)[:-MOST_KEPT]:
            self._known.pop(oldest, None)
        return events

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """A database that does not answer, is full or may not be written, as one message."""
        try:
            yield
        except (sql.exc.OperationalError, sql.exc.InternalError, sqlite3.Error) as error:
            raise UnavailableError(
                f"{self.place}: expected a ledger that can be {done}; found: {_cause(error)}. Nothing was stored. "
                "Mend that, or choose another store with --store."
            ) from None


def _unusable(place: str, error: BaseException) -> UserError:
    return UnavailableError(
        f"{place}: expected a folder that a ledger can be kept in, or a database that answers; found: {_cause(error)}. "
        "Mend that, or choose another store with --store."
    )


def _database(url: str) -> Engine:
    """The engine of a database URL; what the URL holds is not repeated in a message, it may be a password."""
    try:
        parsed = sql.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            return _sqlite(Path(parsed.database))
        if parsed.get_backend_name() == "postgresql":
            return sql.create_engine(
                parsed, isolation_level="READ COMMITTED", pool_pre_ping=True, max_overflow=OVERFLOW
            )
    except ModuleNotFoundError as error:
        raise UserError(
            f"store: expected the driver {error.name} of that database; found none. Install it: for PostgreSQL "
            "pip install 'stackpress[postgresql]'."
        ) from None
    except sql.exc.ArgumentError:
        raise UserError("store: expected a folder or a database URL; found a URL that cannot be read.") from None
    raise UserError(f"store: expected a folder, or a database of PostgreSQL or SQLite; found {parsed.drivername}.")


def _sqlite(path: Path) -> Engine:
    url = sql.URL.create("sqlite", database=str(path))  # built, not written: a path may hold ? or %
    read_only = path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    creator = {"creator": partial(_connect_read_only, path)} if read_only else {}
    engine = sql.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, max_overflow=OVERFLOW, **creator)

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        if not read_only:
            _to_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")

    @sql.event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _to_wal(connection: sqlite3.Connection) -> None:
    """Ask for the write-ahead log, again while another process does: SQLite's own waiting leaves this statement out."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even beside the file: where no writer is at work, SQLite needs to be told
    that the file stays as it is."""
    at_work = path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'' if at_work else '&immutable=1'}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)


def _events(connection: Connection, campaign: str, after: int = 0) -> tuple[Event, ...]:
    wanted = sql.and_(events_table.c.campaign == campaign, events_table.c.revision > after)
    query = sql.select(*TOLD).where(wanted).order_by(events_table.c.revision)
    return tuple(Event(**row._mapping) for row in connection.execute(query))


def _digest(request: Any) -> str:
    text = json.dumps(request, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _numbered(key: str | None, number: int) -> str | None:
    return f"{key}/{number + 1}" if key and number else key


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Inside, what is stored is by `name`, not by the user whose process this is."""
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


def utc_now(hours: float = 0.0) -> str:
    """The time now, or `hours` from now, as the ledger keeps times: UTC (ISO 8601)."""
    return (datetime.now(timezone.utc) + timedelta(hours=hours)).isoformat(timespec="milliseconds")


def actor() -> str:
    """By whom things are stored here: see `acting_as`; else the user whose process this is."""
    if (name := _acting.get()) is not None:
        return name
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def _cause(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
