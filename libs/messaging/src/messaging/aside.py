"""The table of what could not be settled at once: waiting, retrying, dead or discarded.

There are no dead-letter topics: they would be a second home for personal data and a second write.
The row holds the record as it came, so that it can be tried again as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from messaging.envelope import Item, Record, decode
from messaging.tables import set_aside
from runtime.store import insert_ignore


@dataclass(frozen=True, slots=True)
class SetAside:
    """An event that was set aside, as staff see it; `body` may hold personal data."""

    event_id: str
    topic: str
    partition: int
    offset: int
    key: str
    type: str
    previous: str | None
    state: str
    reason: str
    tries: int
    next_try: datetime | None
    at: datetime
    headers: Sequence[tuple[str, str]]
    body: str


def put(
    connection: sa.Connection,
    item: Item,
    state: str,
    reason: str,
    *,
    tries: int,
    next_try: datetime | None,
    at: datetime,
    table: sa.Table = set_aside,
) -> None:
    """Set an item aside; one that is there already stays as it is."""
    record = item.record
    insert_ignore(
        connection,
        table,
        [
            {
                "event_id": item.id[:160],
                "topic": record.topic,
                "partition": record.partition,
                "record_offset": record.offset,
                "key": _plain(item.key[:200]),
                "type": _plain(item.type[:200]),
                "previous": item.previous,
                "state": state,
                "reason": _plain(reason),
                "tries": tries,
                "next_try": next_try,
                "headers": [
                    [_plain(name), base64.b64encode(value or b"").decode()]
                    for name, value in record.headers
                ],
                "record_key": record.key,
                "body": record.value,
                "stamp": record.stamp,
                "at": at,
            }
        ],
    )


def _plain(text: str) -> str:
    """PostgreSQL keeps no text with a NUL in it."""
    return text.replace("\0", "�")


def locked(connection: sa.Connection, event_id: str) -> Any | None:
    """The row of an event, locked, or None."""
    return connection.execute(
        sa.select(set_aside).where(set_aside.c.event_id == event_id).with_for_update()
    ).first()


def item_of(row: Any) -> Item:
    """The record of a row, decoded by this build."""
    return decode(
        Record(
            topic=row.topic,
            partition=row.partition,
            offset=row.record_offset,
            stamp=row.stamp,
            key=row.record_key,
            value=row.body,
            headers=[(name, base64.b64decode(value)) for name, value in row.headers],
        )
    )


def page(
    connection: sa.Connection,
    *,
    state: str = "",
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[SetAside]:
    """Set-aside events, the latest first; `after` is (at, event_id) of the last one seen."""
    query = sa.select(set_aside)
    if state:
        query = query.where(set_aside.c.state == state)
    if after is not None:
        query = query.where(sa.tuple_(set_aside.c.at, set_aside.c.event_id) < sa.tuple_(*after))
    query = query.order_by(set_aside.c.at.desc(), set_aside.c.event_id.desc()).limit(limit)
    return [_shown(row) for row in connection.execute(query)]


def show(connection: sa.Connection, event_id: str) -> SetAside | None:
    """One set-aside event with headers and body."""
    row = connection.execute(sa.select(set_aside).where(set_aside.c.event_id == event_id)).first()
    return None if row is None else _shown(row)


def counts(connection: sa.Connection) -> dict[str, int]:
    """How many there are in each state."""
    found = {"waiting": 0, "retrying": 0, "dead": 0, "discarded": 0}
    rows = connection.execute(
        sa.select(set_aside.c.state, sa.func.count()).group_by(set_aside.c.state)
    )
    found.update((state, count) for state, count in rows)
    return found


def _shown(row: Any) -> SetAside:
    return SetAside(
        event_id=row.event_id,
        topic=row.topic,
        partition=row.partition,
        offset=row.record_offset,
        key=row.key,
        type=row.type,
        previous=row.previous,
        state=row.state,
        reason=row.reason,
        tries=row.tries,
        next_try=row.next_try,
        at=row.at,
        headers=[
            (name, base64.b64decode(value).decode("utf-8", "replace"))
            for name, value in row.headers
        ],
        body=(row.body or b"").decode("utf-8", "replace"),
    )
