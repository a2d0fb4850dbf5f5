"""The ledger's schema, step by step: alembic's scripts in `versions/`, run by `bring_up` after a backup.

The schema of a fresh ledger is made by the same steps. Each runs in one transaction, on SQLite as on PostgreSQL.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from surrogates.errors import UserError

STEPS = ("0001", "0002", "0003", "0004")
VERSION_TABLE = "stackpress_schema"  # not alembic's own name: MLflow may live in the same database
SCRIPTS = Path(__file__).parent


def schema_of(connection: Connection) -> str | None:
    """The last step that a ledger has taken; None where it is fresh."""
    inspector = sql.inspect(connection)
    if inspector.has_table(VERSION_TABLE):
        version = connection.execute(sql.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        return None if version is None else str(version)
    return STEPS[0] if inspector.has_table("events") else None  # before the steps were counted


def check_known(schema: str | None) -> None:
    """Raise `UserError` where a ledger has taken a step that this version does not know."""
    if schema is not None and schema not in STEPS:
        raise UserError(
            f"ledger: expected a schema up to {STEPS[-1]}; found {schema}. It was written by a newer stackpress: "
            "update stackpress. Nothing was changed."
        )


def bring_up(engine: Engine, scripts: Path = SCRIPTS, last: str = STEPS[-1]) -> None:
    """Take a ledger to the schema `last`, in one transaction that keeps other writers out; a backup comes first."""
    from alembic import command
    from alembic.config import Config

    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(sql.func.hashtext(VERSION_TABLE))))
        schema = schema_of(connection)  # again: another process may have done it meanwhile
        if schema == last:
            return
        if schema is not None:
            _back_up(connection, last)
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.attributes["connection"] = connection
        if schema is not None and not sql.inspect(connection).has_table(VERSION_TABLE):
            command.stamp(config, schema)
        command.upgrade(config, last)


def _back_up(connection: Connection, to: str) -> None:
    """Keep a ledger as it is: SQLite's file as `ledger.before-STEP.db` beside it, else the events as another table."""
    database = connection.engine.url.database
    if connection.dialect.name != "sqlite" or database is None:
        connection.execute(sql.text(f"CREATE TABLE events_before_{to} AS TABLE events"))
        return
    path = Path(database)
    part = path.with_name(f"{path.stem}.before-{to}.db.part")
    part.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
    part.replace(path.with_name(f"{path.stem}.before-{to}.db"))
