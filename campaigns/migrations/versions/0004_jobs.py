"""Long work of the service, who is told of a campaign's news, and what is on its way to them."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables. Leases and times to try again are seconds since 1970."""
    op.create_table(
        "jobs",
        sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
        sql.Column("id", sql.String(32), nullable=False, unique=True),
        sql.Column("kind", sql.String(20), nullable=False),
        sql.Column("campaign", sql.String(64)),
        sql.Column("request", sql.JSON, nullable=False),
        sql.Column("key", sql.String(100), unique=True),
        sql.Column("state", sql.String(20), nullable=False, index=True),
        sql.Column("done", sql.Integer, nullable=False),
        sql.Column("total", sql.Integer),
        sql.Column("result", sql.JSON),
        sql.Column("problem", sql.Text),
        sql.Column("asked_by", sql.String(200), nullable=False),
        sql.Column("asked", sql.String(40), nullable=False),
        sql.Column("finished", sql.String(40)),
        sql.Column("deaths", sql.Integer, nullable=False),
        sql.Column("worker", sql.String(32)),
        sql.Column("lease", sql.Float),
    )
    op.create_table(
        "webhooks",
        sql.Column("campaign", sql.String(64), primary_key=True),
        sql.Column("url", sql.String(2000), nullable=False),
        sql.Column("secret", sql.String(64), nullable=False),
        sql.Column("set_by", sql.String(200), nullable=False),
        sql.Column("set_at", sql.String(40), nullable=False),
        sql.Column("since", sql.Integer, nullable=False),
        sql.Column("seen", sql.Integer, nullable=False),
        sql.Column("lease", sql.Float),
    )
    op.create_table(
        "deliveries",
        sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
        sql.Column("id", sql.String(32), nullable=False, unique=True),
        sql.Column("campaign", sql.String(64), nullable=False),
        sql.Column("fact", sql.String(255), nullable=False, unique=True),
        sql.Column("body", sql.Text, nullable=False),
        sql.Column("state", sql.String(20), nullable=False, index=True),
        sql.Column("attempts", sql.Integer, nullable=False),
        sql.Column("due", sql.Float, nullable=False),
        sql.Column("problem", sql.Text),
    )
