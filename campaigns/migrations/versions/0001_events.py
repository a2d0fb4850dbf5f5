"""The list of events."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "events",
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
