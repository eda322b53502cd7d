"""What the store itself does with a new row of the outbox: it counts as unsent.

A trigger, so that nobody who writes a row can forget it, also not a replica of an earlier version
that runs on while the new one is rolled out.
"""

from __future__ import annotations

import sqlalchemy as sa

MADE = {
    "sqlite": (
        "CREATE TRIGGER outbox_is_unsent AFTER INSERT ON outbox BEGIN"
        ' INSERT INTO outbox_unsent ("row") VALUES (new."row"); END',
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION outbox_is_unsent() RETURNS trigger LANGUAGE plpgsql AS"
        ' $$BEGIN INSERT INTO outbox_unsent ("row") SELECT "row" FROM new_rows; RETURN NULL; END$$',
        "CREATE TRIGGER outbox_is_unsent AFTER INSERT ON outbox REFERENCING NEW TABLE AS new_rows"
        " FOR EACH STATEMENT EXECUTE FUNCTION outbox_is_unsent()",
    ),
}
GONE = {
    "sqlite": ("DROP TRIGGER outbox_is_unsent",),
    "postgresql": (
        "DROP TRIGGER outbox_is_unsent ON outbox",
        "DROP FUNCTION outbox_is_unsent()",
    ),
}


def whenever_made(outbox: sa.Table) -> None:
    """A table that is made from metadata has the trigger as well."""
    for dialect, statements in MADE.items():
        for statement in statements:
            _listen(outbox, "after_create", statement, dialect)
    _listen(outbox, "after_drop", "DROP FUNCTION IF EXISTS outbox_is_unsent()", "postgresql")


def _listen(outbox: sa.Table, when: str, statement: str, dialect: str) -> None:
    ddl = sa.DDL(statement).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
    sa.event.listen(outbox, when, ddl, propagate=True)  # also for copies in other metadata
