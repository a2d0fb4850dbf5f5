"""The truth: an append-only list of events in one ACID database (SQLite in the store's folder, PostgreSQL by URL).

An event is never changed. Each verb is one transaction: it reads the campaign's events, checks what it wants to do, and
appends. Within a campaign events are numbered 1, 2, ... (their revision); an idempotency key is stored at most once.
"""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from surrogates.errors import UserError

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30

metadata = sql.MetaData()
events_table = sql.Table(
    "events",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("campaign", sql.String(100), nullable=False),
    sql.Column("revision", sql.Integer, nullable=False),
    sql.Column("kind", sql.String(40), nullable=False),
    sql.Column("schema_version", sql.Integer, nullable=False),
    sql.Column("payload", sql.JSON, nullable=False),
    sql.Column("actor", sql.String(200), nullable=False),
    sql.Column("time", sql.String(40), nullable=False),
    sql.Column("key", sql.String(100), nullable=False, unique=True),
    sql.UniqueConstraint("campaign", "revision"),
)


@dataclass(frozen=True)
class Event:
    """One thing that happened. `kind`: campaign_opened, cells_added, recorded or suggested; `time` in UTC (ISO 8601)."""

    campaign: str
    revision: int
    kind: str
    schema_version: int
    payload: dict[str, Any]
    actor: str
    time: str
    key: str


class Transaction:
    """One verb at work: the campaign's events so far, and `append` for new ones; all are stored or none."""

    def __init__(self, connection: Connection, campaign: str) -> None:
        self._connection = connection
        self.campaign = campaign
        self.events = _events(connection, campaign)

    def append(self, kind: str, payload: dict[str, Any], key: str | None = None) -> Event:
        """Append one event and return it; a `key` already stored returns the event it was stored with."""
        if key is not None:
            known = next((event for event in self.events if event.key == key), None)
            if known is not None:
                return known
        event = Event(
            campaign=self.campaign,
            revision=len(self.events) + 1,
            kind=kind,
            schema_version=SCHEMA_VERSION,
            payload=payload,
            actor=_actor(),
            time=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            key=key or uuid.uuid4().hex,
        )
        self._connection.execute(sql.insert(events_table).values(**vars(event)))
        self.events = (*self.events, event)
        return event


class Ledger:
    """The events of every campaign of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with self._reading() as connection:
            is_new = not sql.inspect(connection).has_table(events_table.name)
        if is_new:
            with self._engine.begin() as connection:
                metadata.create_all(connection)

    @classmethod
    def open(cls, store: str | Path) -> Ledger:
        """The ledger of a store: `ledger.db` in a folder (made if absent), or the database at a URL."""
        if "://" in str(store):
            return cls(_database(str(store)))
        folder = Path(store)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(_sqlite(folder / "ledger.db"))
        except (OSError, sql.exc.DatabaseError) as error:
            raise UserError(
                f"{folder}: expected a folder that a ledger can be kept in; found {_cause(error)}. "
                "Choose another folder with --store."
            ) from None

    @contextmanager
    def writing(self, campaign: str) -> Iterator[Transaction]:
        """A transaction that holds the write lock until it ends; an error inside leaves nothing behind."""
        try:
            with self._engine.begin() as connection:
                yield Transaction(connection, campaign)
        except sql.exc.OperationalError as error:
            raise UserError(f"the ledger could not be written: {_cause(error)}. Nothing was stored.") from None

    def events(self, campaign: str) -> tuple[Event, ...]:
        """The events of one campaign, oldest first; empty where there is none."""
        with self._reading() as connection:
            return _events(connection, campaign)

    def campaigns(self) -> tuple[str, ...]:
        """The names of all campaigns, oldest first."""
        first = sql.select(events_table.c.campaign).where(events_table.c.revision == 1).order_by(events_table.c.id)
        with self._reading() as connection:
            return tuple(connection.execute(first).scalars())

    def head(self) -> int:
        """How many events there are in all: it grows with each."""
        with self._reading() as connection:
            return int(connection.execute(sql.select(sql.func.count()).select_from(events_table)).scalar_one())

    def close(self) -> None:
        """Give the database's files and connections back."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection.execution_options(reading=True)


def _database(url: str) -> Engine:
    """The engine of a database URL; what the URL holds is not repeated in a message, it may be a password."""
    try:
        return sql.create_engine(url)
    except ModuleNotFoundError as error:
        raise UserError(f"store: expected the driver {error.name} of that database; found none. Install it.") from None
    except sql.exc.ArgumentError:
        raise UserError("store: expected a folder or a database URL; found a URL that cannot be read.") from None


def _sqlite(path: Path) -> Engine:
    url = sql.URL.create("sqlite", database=str(path))  # built, not written: a path may hold ? or %
    engine = sql.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @sql.event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _events(connection: Connection, campaign: str) -> tuple[Event, ...]:
    columns = [column for column in events_table.c if column.name != "id"]
    query = sql.select(*columns).where(events_table.c.campaign == campaign).order_by(events_table.c.revision)
    return tuple(Event(**row._mapping) for row in connection.execute(query))


def _actor() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _cause(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error)
