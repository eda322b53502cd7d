"""The outbox: events written with the state that they tell of, and the chain between them.

``previous`` of an event is the id of the event before it of the same topic and key. The link is
fixed when the row is *written*: with one fixed at sending, a log that was cut and a restored store
give two histories. On PostgreSQL advisory locks of all (topic, key), taken sorted just before and
freed by the commit, make the chain true under concurrency; SQLite has one writer anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from contracts import COMPACTED
from messaging.tables import outbox
from runtime.prepared import Prepared
from runtime.rows import among, those_of
from runtime.store import insert_ignore


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is about to be written."""

    id: str
    topic: str
    key: str
    cause: str | None
    type: str
    headers: dict[str, Any]
    body: bytes | None
    at: datetime


def write(connection: sa.Connection, drafts: Sequence[Draft]) -> int:
    """Chain and insert events, as the last thing before the commit; returns how many are new.

    An id that is there already is left alone: the same decision was taken before. Events of a
    compacted topic have no ``previous``, since the one before may be gone from the log; the lock
    gives their rows the order of the commits all the same.
    """
    drafts = _new(connection, drafts)
    if not drafts:
        return 0
    names = sorted({(d.topic, d.key) for d in drafts})
    _lock(connection, names)
    last = _last_ids(connection, [name for name in names if name[0] not in COMPACTED])
    rows = []
    for draft in drafts:
        name = (draft.topic, draft.key)
        previous = last.get(name)
        if draft.topic not in COMPACTED:
            last[name] = draft.id
        rows.append(
            {
                "id": draft.id,
                "topic": draft.topic,
                "key": draft.key,
                "previous": previous,
                "cause": draft.cause,
                "type": draft.type,
                "headers": draft.headers,
                "body": draft.body,
                "at": draft.at,
            }
        )
    insert_ignore(connection, outbox, rows)
    return len(rows)


def _new(connection: sa.Connection, drafts: Sequence[Draft]) -> list[Draft]:
    reactions = [d.id for d in drafts if d.cause]
    if not reactions:
        return list(drafts)
    known = set(those_of(connection, outbox.c.id, reactions))
    return [d for d in drafts if d.id not in known]


def _lock(connection: sa.Connection, names: Sequence[tuple[str, str]]) -> None:
    if connection.dialect.name != "postgresql" or not names:
        return
    numbers = sorted(
        int.from_bytes(hashlib.blake2b(f"{t}\n{k}".encode(), digest_size=8).digest(), signed=True)
        for t, k in names
    )
    _LOCK.run(connection, numbers=numbers)


_LOCK = Prepared(
    sa.text("SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n")
)


def _last_ids(
    connection: sa.Connection, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    last: dict[tuple[str, str], str] = {}
    keys_of: dict[str, list[str]] = {}
    for topic, key in names:
        keys_of.setdefault(topic, []).append(key)
    for topic, keys in keys_of.items():
        found = _NEWEST.tuples(connection, topic=topic, wanted=keys)
        last.update(((topic, key), event_id) for key, event_id in found)
    return last


def _newest(dialect: str) -> sa.Select[Any]:
    """The last row of each key of a topic."""
    newest = (
        sa.select(sa.func.max(outbox.c.row))
        .where(outbox.c.topic == sa.bindparam("topic"), among(dialect, outbox.c.key))
        .group_by(outbox.c.key)
        .scalar_subquery()
    )
    return sa.select(outbox.c.key, outbox.c.id).where(outbox.c.row.in_(newest))


_NEWEST = Prepared(_newest)
