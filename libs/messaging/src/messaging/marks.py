"""What the relay writes down: which rows were sent where, and how far each partition is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from messaging.attempt import Place
from messaging.tables import outbox, place
from runtime.store import upsert

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sent:
    """An acknowledged row."""

    row: int
    event_id: str
    topic: str
    partition: int
    offset: int
    stamp: int


def unsent(
    connection: sa.Connection, blocked: Iterable[tuple[str, str]], limit: int
) -> Sequence[Any]:
    """The oldest rows that were not sent, in the order of their commits, without blocked keys."""
    query = sa.select(
        outbox.c.row,
        outbox.c.id,
        outbox.c.topic,
        outbox.c.key,
        outbox.c.previous,
        outbox.c.cause,
        outbox.c.type,
        outbox.c.headers,
        outbox.c.body,
    ).where(outbox.c.record_offset.is_(None))
    for topic, key in blocked:
        query = query.where(sa.not_(sa.and_(outbox.c.topic == topic, outbox.c.key == key)))
    return connection.execute(query.order_by(outbox.c.row).limit(limit)).all()


def sent(
    connection: sa.Connection, rows: Sequence[Sent], places: Mapping[Partition, Place]
) -> None:
    """Mark acknowledged rows and move the places, in the caller's transaction."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text(
                'UPDATE outbox AS o SET "partition" = v.p, record_offset = v.o, stamp = v.s'
                " FROM json_to_recordset(CAST(:rows AS json))"
                ' AS v(r bigint, p int, o bigint, s bigint) WHERE o."row" = v.r'
            ),
            {
                "rows": json.dumps(
                    [{"r": r.row, "p": r.partition, "o": r.offset, "s": r.stamp} for r in rows]
                )
            },
        )
    else:
        connection.execute(
            sa.update(outbox)
            .where(outbox.c.row == sa.bindparam("r"))
            .values(
                partition=sa.bindparam("p"),
                record_offset=sa.bindparam("o"),
                stamp=sa.bindparam("s"),
            ),
            [{"r": r.row, "p": r.partition, "o": r.offset, "s": r.stamp} for r in rows],
        )
    move(connection, places)


def move(connection: sa.Connection, places: Mapping[Partition, Place]) -> None:
    """Write the places of the own topics."""
    upsert(
        connection,
        place,
        [
            {
                "side": "out",
                "topic": topic,
                "partition": partition,
                "record_offset": at.offset,
                "event_id": at.event_id,
                "stamp": at.stamp,
                "era": at.era,
            }
            for (topic, partition), at in places.items()
        ],
        key=("side", "topic", "partition"),
    )


def out_places(connection: sa.Connection) -> dict[Partition, Place]:
    """How far the own topics are written."""
    rows = connection.execute(sa.select(place).where(place.c.side == "out"))
    return {
        (r.topic, r.partition): Place(r.record_offset, r.event_id, r.stamp, r.era) for r in rows
    }


def forget(connection: sa.Connection, name: Partition) -> None:
    """Nothing of this partition counts as sent any more."""
    connection.execute(
        sa.update(outbox)
        .where(outbox.c.topic == name[0], outbox.c.partition == name[1])
        .values(partition=None, record_offset=None, stamp=None)
    )
    connection.execute(
        sa.delete(place).where(
            place.c.side == "out", place.c.topic == name[0], place.c.partition == name[1]
        )
    )


def unsend_missing(connection: sa.Connection, topic: str, there: set[str]) -> int:
    """Rows that count as sent but are not among `there` are unsent again; how many."""
    rows = connection.execute(
        sa.select(outbox.c.row, outbox.c.id).where(
            outbox.c.topic == topic, outbox.c.record_offset.is_not(None)
        )
    )
    return _unsend(connection, [row for row, event_id in rows if event_id not in there])


def replay(
    connection: sa.Connection, topic: str, *, key: str = "", since: datetime | None = None
) -> int:
    """Send rows of a topic (of one key, of a time on) once more: everybody drops what is known.
    Returns how many."""
    query = sa.select(outbox.c.row).where(
        outbox.c.topic == topic, outbox.c.record_offset.is_not(None)
    )
    if key:
        query = query.where(outbox.c.key == key)
    if since is not None:
        query = query.where(outbox.c.at >= since)
    return _unsend(connection, list(connection.scalars(query)))


def _unsend(connection: sa.Connection, rows: list[int]) -> int:
    if rows:
        connection.execute(
            sa.update(outbox)
            .where(outbox.c.row == sa.bindparam("r"))
            .values(partition=None, record_offset=None, stamp=None),
            [{"r": row} for row in rows],
        )
    return len(rows)


def known(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Which of these ids are in the outbox."""
    return set(connection.scalars(sa.select(outbox.c.id).where(outbox.c.id.in_(ids))))


def oldest_unsent(connection: sa.Connection) -> datetime | None:
    """When the oldest row that was not sent was written."""
    return connection.scalar(
        sa.select(outbox.c.at)
        .where(outbox.c.record_offset.is_(None))
        .order_by(outbox.c.row)
        .limit(1)
    )


def count_unsent(connection: sa.Connection) -> int:
    """How many rows were not sent."""
    return (
        connection.scalar(
            sa.select(sa.func.count()).select_from(outbox).where(outbox.c.record_offset.is_(None))
        )
        or 0
    )
