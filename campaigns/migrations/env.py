"""What alembic runs around the steps: on the connection, and in the transaction, that `bring_up` has opened."""

from __future__ import annotations

from alembic import context

from campaigns.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
