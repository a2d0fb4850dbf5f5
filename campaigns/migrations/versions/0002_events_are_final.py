"""The database itself refuses to change or delete an event, whoever asks."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

REFUSAL = "an event of the ledger is never changed or deleted"
SQLITE = [
    f"CREATE TRIGGER events_keep_{verb.lower()} BEFORE {verb} ON events BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    for verb in ("UPDATE", "DELETE")
]
POSTGRESQL = [
    f"CREATE FUNCTION events_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$",
    "CREATE TRIGGER events_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
    "FOR EACH STATEMENT EXECUTE FUNCTION events_keep()",
]


def upgrade() -> None:
    """Set the triggers."""
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}.get(op.get_bind().dialect.name, []):
        op.execute(statement)
