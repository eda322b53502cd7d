"""What one store says against another: every fact that was told was heard, once.

Facts are compared up to the place of the listener; what lies behind it is on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from messaging import Difference, Service, marks
from messaging.tables import inbox, outbox, outbox_sent, place, set_aside

_CHUNK = 900


@dataclass
class Told:
    """Facts of one topic: id to (partition, offset, type); unsent ones have no place."""

    topic: str
    facts: dict[str, tuple[int | None, int | None, str]] = field(default_factory=dict)


def told(connection: sa.Connection, service: Service) -> list[Told]:
    """All that a service has told, by topic."""
    found = {topic: Told(topic) for topic in service.topics}
    rows = connection.execute(
        sa.select(
            outbox.c.id,
            outbox.c.topic,
            outbox_sent.c.partition,
            outbox_sent.c.record_offset,
            outbox.c.type,
        ).outerjoin_from(outbox, outbox_sent, outbox.c.row == outbox_sent.c.row)
    )
    for event_id, topic, partition, offset, kind in rows:
        if topic in found:
            found[topic].facts[event_id] = (partition, offset, kind)
    return list(found.values())


def astray(connection: sa.Connection) -> list[Difference]:
    """Facts of a teller that nobody would ever send."""
    return [
        Difference(
            check="every fact is sent or to be sent",
            subject=f"event {event_id}",
            expected="one of the two",
            found="both or neither",
        )
        for event_id in marks.astray(connection)
    ]


@dataclass
class Heard:
    """How a listener stands with one topic."""

    missing: list[str]
    on_the_way: int


def heard(connection: sa.Connection, by: Service, what: Told) -> Heard:
    """Which facts of a topic a listener has neither settled nor set aside."""
    rows = connection.execute(
        sa.select(place.c.partition, place.c.record_offset).where(
            place.c.side == "in", place.c.topic == what.topic
        )
    )
    places = {row.partition: row.record_offset for row in rows}
    due: list[str] = []
    on_the_way = 0
    for event_id, (partition, offset, _) in what.facts.items():
        if partition is None or offset is None or offset > places.get(partition, -1):
            on_the_way += 1
        else:
            due.append(event_id)
    there = set(_which(connection, inbox.c.event_id, due))
    there |= set(_which(connection, set_aside.c.event_id, [e for e in due if e not in there]))
    return Heard([event_id for event_id in due if event_id not in there], on_the_way)


def _which(connection: sa.Connection, column: sa.Column[str], ids: list[str]) -> Iterator[str]:
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        yield from connection.scalars(sa.select(column).where(column.in_(part)))


def not_heard(by: Service, what: Told, missing: Iterable[str]) -> list[Difference]:
    """The facts that never arrived, in words."""
    return [
        Difference(
            check="every fact is heard",
            subject=f"{what.facts[event_id][2]} {event_id}",
            expected=f"settled by {by.name}",
            found="neither settled nor set aside",
        )
        for event_id in missing
    ]


def not_in_log(what: Told, log: Mapping[tuple[int, int], str]) -> list[Difference]:
    """Facts that count as sent but do not lie in the log where they should."""
    return [
        Difference(
            check="every fact is on the bus",
            subject=f"{kind} {event_id}",
            expected=f"{what.topic}/{partition} at {offset}",
            found=log.get((partition, offset), "nothing there"),
        )
        for event_id, (partition, offset, kind) in what.facts.items()
        if partition is not None and offset is not None and log.get((partition, offset)) != event_id
    ]
