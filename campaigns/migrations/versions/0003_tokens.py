"""Who may ask the service: tokens, and the sessions of the bench page; of both only a digest is kept."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tokens",
        sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
        sql.Column("name", sql.String(100), nullable=False),
        sql.Column("role", sql.String(20), nullable=False),
        sql.Column("digest", sql.String(64), nullable=False, unique=True),
        sql.Column("created", sql.String(40), nullable=False),
        sql.Column("created_by", sql.String(200), nullable=False),
        sql.Column("revoked", sql.String(40)),
    )
    op.create_table(
        "sessions",
        sql.Column("digest", sql.String(64), primary_key=True),
        sql.Column("token_id", sql.Integer, nullable=False),
        sql.Column("expires", sql.String(40), nullable=False),
    )
