"""The tables that every service's store has for the way of a fact (DESIGN §3), and for the edge.

``outbox`` is also the service's event log: rows stay, and are not changed but that the names of who
is erased go. Beside it ``outbox_unsent`` names those that are not on the bus, and ``outbox_sent``
says of all others where they lie; the store counts a new row as unsent. ``inbox`` holds the id of
every settled event. ``place`` says how far each partition was read (``in``), written (``out``) or
rebuilt (``name@version``). ``set_aside`` holds what waits, is tried again, is dead or was
discarded.
"""

from __future__ import annotations

from typing import cast

import sqlalchemy as sa

from messaging import unsent_from_the_start
from runtime.prepared import Prepared
from runtime.scheduler import job_table
from runtime.types import Id, Json, UtcDateTime

ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""An identity column: SQLite only counts a plain INTEGER PRIMARY KEY up by itself."""

_METADATA = sa.MetaData()

outbox = sa.Table(
    "outbox",
    _METADATA,
    sa.Column("row", ROW, primary_key=True, autoincrement=True),
    sa.Column("id", Id, nullable=False, unique=True),
    sa.Column("topic", sa.String(100), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("previous", Id),
    sa.Column("cause", Id),
    sa.Column("type", sa.String(120), nullable=False),
    sa.Column("headers", Json, nullable=False),
    sa.Column("body", sa.LargeBinary),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("outbox_by_key", "topic", "key", "row"),
    sa.Index("outbox_by_cause", "cause"),
)
unsent_from_the_start.whenever_made(outbox)

outbox_unsent = sa.Table(
    "outbox_unsent",
    _METADATA,
    sa.Column("row", ROW, primary_key=True, autoincrement=False),
)

outbox_sent = sa.Table(
    "outbox_sent",
    _METADATA,
    sa.Column("row", ROW, primary_key=True, autoincrement=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("record_offset", sa.BigInteger, nullable=False),
    sa.Column("stamp", sa.BigInteger, nullable=False),
)

inbox = sa.Table(
    "inbox",
    _METADATA,
    sa.Column("event_id", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(100), nullable=False),
    sqlite_with_rowid=False,
)

place = sa.Table(
    "place",
    _METADATA,
    sa.Column("side", sa.String(120), primary_key=True),
    sa.Column("topic", sa.String(100), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("record_offset", sa.BigInteger, nullable=False),
    sa.Column("event_id", sa.String(64), nullable=False),
    sa.Column("stamp", sa.BigInteger, nullable=False),
    sa.Column("era", sa.BigInteger, nullable=False),
)

set_aside = sa.Table(
    "set_aside",
    _METADATA,
    sa.Column("event_id", sa.String(160), primary_key=True),
    sa.Column("topic", sa.String(100), nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("record_offset", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String(200), nullable=False),
    sa.Column("type", sa.String(200), nullable=False),
    sa.Column("previous", sa.String(64)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try", UtcDateTime),
    sa.Column("headers", Json, nullable=False),
    sa.Column("record_key", sa.LargeBinary),
    sa.Column("body", sa.LargeBinary),
    sa.Column("stamp", sa.BigInteger, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("set_aside_by_previous", "previous", "state"),
    sa.Index("set_aside_due", "state", "next_try"),
    sa.Index("set_aside_by_time", "at", "event_id"),
)

projection = sa.Table(
    "projection",
    _METADATA,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
)

idempotency = sa.Table(
    "idempotency",
    _METADATA,
    sa.Column("account_id", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("answer", Json),
    sa.Column("at", UtcDateTime, nullable=False, index=True),
)

auth_key = sa.Table(
    "auth_key",
    _METADATA,
    sa.Column("key_id", Id, primary_key=True),
    sa.Column("public_key", sa.String(64), nullable=False),
    sa.Column("not_before", UtcDateTime, nullable=False),
    sa.Column("not_after", UtcDateTime, nullable=False),
)

auth_revoked = sa.Table(
    "auth_revoked",
    _METADATA,
    sa.Column("session_id", sa.String(64), primary_key=True),
    sa.Column("until", UtcDateTime, nullable=False, index=True),
)

meta = sa.Table(
    "meta",
    _METADATA,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

job_table(_METADATA)

NAMES = frozenset(_METADATA.tables)
"""The names that no service may use for a table of its own."""


def metadata_with_messaging() -> sa.MetaData:
    """A new ``MetaData`` that already holds these tables, for a service to add its own to."""
    metadata = sa.MetaData()
    for table in _METADATA.sorted_tables:
        table.to_metadata(metadata)
    return metadata


def read_meta(connection: sa.Connection, name: str) -> str | None:
    """A value of the store's own small notebook, or None."""
    return cast("str | None", _META.scalar(connection, wanted=name))


_META = Prepared(sa.select(meta.c.value).where(meta.c.name == sa.bindparam("wanted")))


def write_meta(connection: sa.Connection, name: str, value: str) -> None:
    """Write a value into the store's notebook."""
    done = connection.execute(sa.update(meta).where(meta.c.name == name).values(value=value))
    if not done.rowcount:
        connection.execute(sa.insert(meta).values(name=name, value=value))
