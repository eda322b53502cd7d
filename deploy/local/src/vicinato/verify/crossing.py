"""What one store says against another: every fact that was told was heard, once.

Facts are compared up to the place of the listener; what lies behind it is on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """How a listener stands with one topic: ids that are neither settled nor set aside, how many
    are to come or to be tried again, and ids that it gave up, which wait for a person."""

    missing: list[str]
    on_the_way: int
    dead: list[str]


def heard(connection: sa.Connection, what: Told) -> Heard:
    """Which facts of a topic a listener has not settled, and why."""
    rows = connection.execute(
        sa.select(place.c.partition, place.c.record_offset).where(
            place.c.side == "in", place.c.topic == what.topic
        )
    )
    places = {row.partition: row.record_offset for row in rows}
    aside = _aside(connection, what)
    due: list[str] = []
    on_the_way = 0
    for event_id, (partition, offset, _) in what.facts.items():
        behind = partition is None or offset is None or offset > places.get(partition, -1)
        if behind or aside.get(event_id) in ("waiting", "retrying"):
            on_the_way += 1
        elif event_id not in aside:
            due.append(event_id)
    there = set(_which(connection, inbox.c.event_id, due))
    return Heard(
        [event_id for event_id in due if event_id not in there],
        on_the_way,
        [event_id for event_id, state in aside.items() if state == "dead"],
    )


def _aside(connection: sa.Connection, what: Told) -> dict[str, str]:
    """The facts of a topic that are set aside, and their states. What somebody else wrote there is
    none of them."""
    rows = connection.execute(
        sa.select(set_aside.c.event_id, set_aside.c.state)
        .where(set_aside.c.topic == what.topic)
        .order_by(set_aside.c.event_id)
    )
    return {row.event_id: row.state for row in rows if row.event_id in what.facts}


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


def given_up(by: Service, what: Told, dead: Sequence[str]) -> str:
    """The facts of which a listener waits for a person, in words. They are seen where they lie, so
    that they are no difference."""
    kind = what.facts[dead[0]][2]
    more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
    return (
        f"{by.name} has given up {kind} {dead[0]}{more} of {what.topic}:"
        f" `vicinato set-aside list --state dead` says why."
    )


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
