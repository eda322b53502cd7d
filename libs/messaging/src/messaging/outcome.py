"""What settling is about: places, what a transaction asks of its caller, and how it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa

from messaging.envelope import Item
from messaging.reactions import Projection
from messaging.service import Service
from messaging.tables import projection
from runtime.prepared import Prepared

Partition = tuple[str, int]

BEGINNING = -1
WAIT_FOR_PREVIOUS = timedelta(hours=1)
RETRIES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=60))
ADOPTED = "adopted"
"""Note in the store: some outbox rows came back from the bus, so reactions may exist already."""


class Place(NamedTuple):
    """How far a partition is settled. ``offset`` -1: nothing of it."""

    offset: int
    event_id: str
    stamp: int
    era: int


def place_of(item: Item) -> Place:
    """Where a record lies."""
    return Place(item.record.offset, item.id[:64], item.record.stamp, item.era)


def row_of(side: str, name: Partition, at: Place) -> dict[str, object]:
    """A place, as its table holds it."""
    return {
        "side": side,
        "topic": name[0],
        "partition": name[1],
        "record_offset": at.offset,
        "event_id": at.event_id,
        "stamp": at.stamp,
        "era": at.era,
    }


def is_at(item: Item, place: Place) -> bool:
    """Whether this is the record of the place, in the same log: a log that was made anew can have
    the same id at the same offset, but with another timestamp."""
    record = item.record
    there = (record.offset, item.id[:64], record.stamp)
    return there == (place.offset, place.event_id, place.stamp)


@dataclass
class Outcome:
    """What a settled transaction asks of the caller once it is committed."""

    done: int = 0
    seeks: dict[Partition, int] = field(default_factory=dict)
    places: dict[Partition, Place] = field(default_factory=dict)
    gaps: dict[Partition, int] = field(default_factory=dict)
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    emitted: int = 0
    scheduled: bool = False
    settled: list[Item] = field(default_factory=list)
    broken: list[Projection] = field(default_factory=list)


class HandlerFailed(Exception):  # noqa: N818 - it names what happened
    """The item at `index` could not be handled; `by` is the projection, or None for a policy.

    `follower` is the id of an event that waited for this item and was to pass now, when it was that
    one that failed: the item itself is not to blame.
    """

    def __init__(
        self, index: int, error: Exception, by: Projection | None = None, *, follower: str = ""
    ) -> None:
        super().__init__(index)
        self.index = index
        self.error = error
        self.by = by
        self.follower = follower


class Overtaken(Exception):  # noqa: N818 - it names what happened
    """Another replica settled one of the same events meanwhile; the batch is looked at again."""


class NeedsCare(Exception):  # noqa: N818 - it names what happened
    """Rows of several tables were written by one statement, and some of them were refused: which,
    is found out by writing them one by one."""


class Unattributed(Exception):  # noqa: N818
    """Something failed that no single item can be blamed for."""


def live_projections(connection: sa.Connection, service: Service) -> list[Projection]:
    """Those that are filled now. Asked in the transaction that fills them, since another replica
    may just have swapped one in, or found it broken."""
    states = {(name, version): state for name, version, state in _STATES.tuples(connection)}
    return [p for p in service.all_projections if states.get((p.name, p.version), "live") == "live"]


_STATES = Prepared(sa.select(projection.c.name, projection.c.version, projection.c.state))
