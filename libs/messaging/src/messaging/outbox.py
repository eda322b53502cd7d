"""The outbox: events written with the state that they tell of, and the chain between them.

``previous`` of an event is the id of the event before it of the same topic and key. The link is
fixed when the row is *written*: with one fixed at sending, a log that was cut and a restored store
give two histories. So is their order in time: of two events of a key the later one has the later
``order``, also when both were told at once, or the clock was set back between them; what is heard
out of turn is known by it. On PostgreSQL advisory locks of all (topic, key), taken sorted just
before and freed by the commit, make the chain true under concurrency; SQLite has one writer anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from contracts import COMPACTED
from messaging.envelope import ordered
from messaging.tables import outbox
from runtime.named import among, texts, those_of
from runtime.prepared import Prepared
from runtime.store import ensure, together

TICK = timedelta(microseconds=1)
"""By how much an event is later than the one before it, at least: what each store tells apart."""


class Draft(NamedTuple):
    """An event that is about to be written."""

    id: str
    topic: str
    key: str
    cause: str | None
    type: str
    headers: dict[str, Any]
    body: bytes | None
    at: datetime


def write(connection: sa.Connection, drafts: Sequence[Draft], *, ends: bool = False) -> int:
    """Chain and insert events, as the last thing before the commit; returns how many are new. Where
    nothing at all is asked between (it ``ends``) they go on the way of the commit.

    An id that is there already is left alone: the same decision was taken before. Events of a
    compacted topic have no ``previous``, since the one before may be gone from the log; the lock
    gives their rows the order of the commits all the same.
    """
    if not drafts:
        return 0
    _lock(connection, drafts)
    last, known = _already(connection, drafts)
    rows = []
    for draft in drafts:
        if draft.id in known:
            continue
        name = (draft.topic, draft.key)
        previous, at = None, draft.at
        if name in last:
            previous, before = last[name]
            at = max(draft.at, before + TICK)
        if draft.topic not in COMPACTED:
            last[name] = draft.id, at
        rows.append(
            {
                "id": draft.id,
                "topic": draft.topic,
                "key": draft.key,
                "previous": previous,
                "cause": draft.cause,
                "type": draft.type,
                "headers": draft.headers if at == draft.at else draft.headers | ordered(at),
                "body": draft.body,
                "at": at,
            }
        )
    with together(connection, later=ends):
        ensure(connection, outbox, rows)
    return len(rows)


def _lock(connection: sa.Connection, drafts: Sequence[Draft]) -> None:
    if connection.dialect.name != "postgresql":
        return
    numbers = sorted(
        int.from_bytes(hashlib.blake2b(f"{t}\n{k}".encode(), digest_size=8).digest(), signed=True)
        for t, k in {(d.topic, d.key) for d in drafts}
    )
    _LOCK.later(connection, numbers=numbers)


_LOCK = Prepared(
    sa.text("SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n")
)


def _already(
    connection: sa.Connection, drafts: Sequence[Draft]
) -> tuple[dict[tuple[str, str], tuple[str, datetime]], set[str]]:
    """The last event of each key that has a ``previous``, with its time, and which of the reactions
    are there. Asked together, and behind the lock: nobody comes between."""
    reactions = [d.id for d in drafts if d.cause]
    keys_of: dict[str, list[str]] = {}
    for topic, key in sorted({(d.topic, d.key) for d in drafts if d.topic not in COMPACTED}):
        keys_of.setdefault(topic, []).append(key)
    last: dict[tuple[str, str], tuple[str, datetime]] = {}
    known: set[str] = set()
    for topic, keys in keys_of.items():
        if reactions:
            found = _NEWEST_AND_KNOWN.tuples(
                connection, topic=topic, wanted=keys, reactions=reactions
            )
        else:
            found = _NEWEST.tuples(connection, topic=topic, wanted=keys)
        for key, event_id, at in found:
            if key is None:
                known.add(event_id)
            else:
                last[topic, key] = event_id, at
    if reactions and not keys_of:
        known.update(those_of(connection, outbox.c.id, reactions))
    return last, known


def _newest(dialect: str) -> sa.Select[*tuple[Any, ...]]:
    """The last event of each key of a topic, if there is one.

    Key by key, from the end of its index: the greatest of a group is found by reading all of it,
    and of a product that is sold every day there are very many.
    """
    given = texts(dialect)
    each = given.c.value
    of_key = (outbox.c.topic == sa.bindparam("topic"), outbox.c.key == each)
    if dialect == "postgresql":
        newest = sa.select(outbox.c.id, outbox.c.at).where(*of_key)
        found = newest.order_by(outbox.c.row.desc()).limit(1).lateral("newest")
        return sa.select(each, found.c.id, found.c.at).join_from(given, found, sa.true())
    row = sa.select(outbox.c.row).where(*of_key).order_by(outbox.c.row.desc()).limit(1)
    last = outbox.alias("newest")
    return sa.select(each, last.c.id, last.c.at).join_from(
        given, last, last.c.row == row.scalar_subquery()
    )


def _newest_and_known(dialect: str) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """The same, and, without a key, those of some ids that are there."""
    there = sa.select(sa.null(), outbox.c.id, outbox.c.at)
    return sa.union_all(_newest(dialect), there.where(among(dialect, outbox.c.id, "reactions")))


_NEWEST = Prepared(_newest)
_NEWEST_AND_KNOWN = Prepared(_newest_and_known)
