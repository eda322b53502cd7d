"""Tables that are of no use any more, and may be large: out of the way at once, then emptied.

On SQLite a table is not dropped in a moment: what is deleted is overwritten (`secure_delete`), so a
read model of some million rows holds the store for seconds, and everybody who sells waits with it.
So it gets another name, which costs nothing, and its rows go piece by piece while others write
between. What a killed process has left of it goes with the next start. PostgreSQL drops it at once.
"""

from __future__ import annotations

import re
import time
from functools import partial

import sqlalchemy as sa

from runtime.store import Store

PREFIX = "gone_"
"""What the names of tables begin with that are put away."""

PIECE = 250
"""Rows that are deleted at once: some 10 ms, each on a page of its own in every index."""

AT_MOST = 20
"""Pieces of one transaction while nobody waits for the store."""

HELD = 0.01
"""Seconds after which a transaction ends that others wait for."""


def put_away(connection: sa.Connection, table: str) -> None:
    """Away with a table, if it is there, and with the names of its indexes."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f'DROP TABLE IF EXISTS "{table}"'))
        return
    if table not in _tables(connection, table):
        return
    there = [int(name.removeprefix(PREFIX)) for name in _tables(connection, f"{PREFIX}*")]
    name = f"{PREFIX}{max(there, default=0) + 1}"
    connection.execute(sa.text(f'ALTER TABLE "{table}" RENAME TO "{name}"'))
    for number, index in enumerate(_indexes(connection, name)):
        rename_index(connection, index, f"{name}_index_{number}")


def rename_index(connection: sa.Connection, name: str, to: str) -> None:
    """Another name for an index, in a transaction that changes its table as well.

    SQLite has no statement for that; made anew, an index of a million rows holds the store for
    seconds. So its row in the schema is changed, as SQLite's documentation has it for what changes
    nothing in the file (``lang_altertable.html``, "Making Other Kinds Of Table Schema Changes").
    That others read the schema anew is due to the change of the table.

    Raises:
        LookupError: there is no such index, or it was made in a way that is not known here.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f'ALTER INDEX "{name}" RENAME TO "{to}"'))
        return
    made = connection.scalar(_MADE, {"name": name})
    renamed, changed = _NAMED.subn(rf'\g<1>"{to}"', made or "")
    if not changed:
        raise LookupError(f"no index {name} that can be renamed")
    connection.execute(sa.text("PRAGMA writable_schema=ON"))
    try:
        connection.execute(_RENAME, {"name": name, "new": to, "made": renamed})
    finally:
        connection.execute(sa.text("PRAGMA writable_schema=RESET"))


_MADE = sa.text("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = :name")
_RENAME = sa.text(
    "UPDATE sqlite_schema SET name = :new, sql = :made WHERE type = 'index' AND name = :name"
)
_NAMED = re.compile(r'^(CREATE (?:UNIQUE )?INDEX )(?:"[^"]+"|\w+)(?= ON )')


async def empty(store: Store) -> None:
    """Delete what is put away, until nothing of it is left."""
    while await store.write(partial(empty_some, store=store)):
        pass


def empty_some(connection: sa.Connection, store: Store) -> bool:
    """As much as does not keep others waiting; whether there is more."""
    if store.dialect == "postgresql":
        return False
    begun = time.monotonic()
    for table in _tables(connection, f"{PREFIX}*"):
        for _ in range(AT_MOST):
            if not _piece(connection, table):
                connection.execute(sa.text(f'DROP TABLE "{table}"'))
                break
            if store.waiting and time.monotonic() - begun > HELD:
                break
        return True
    return False


def _piece(connection: sa.Connection, table: str) -> int:
    """How many rows were deleted. Every table here has a primary key."""
    described = connection.execute(sa.text(f'PRAGMA table_info("{table}")'))
    its = sa.table(table, *(sa.column(row.name) for row in described if row.pk))
    some = sa.select(*its.c).limit(PIECE)
    done = connection.execute(sa.delete(its).where(sa.tuple_(*its.c).in_(some)))
    return done.rowcount


def _tables(connection: sa.Connection, like: str) -> list[str]:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB :like ORDER BY name"
    return list(connection.scalars(sa.text(query), {"like": like}))


def _indexes(connection: sa.Connection, table: str) -> list[str]:
    """Those that have a name of their own: not what a key or a constraint brings."""
    query = (
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = :table"
        " AND sql IS NOT NULL ORDER BY name"
    )
    return list(connection.scalars(sa.text(query), {"table": table}))
