"""One attempt to settle: a transaction's worth, thrown away when it is rolled back.

`messaging.settle` decides what is attempted and what happens after a failure; here is what one
transaction does, record by record.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from contracts import Event
from messaging import aside
from messaging.envelope import Item, Marker, Received, Unreadable
from messaging.reactions import NotYet, Projection, ProjectionTransaction
from messaging.service import Service
from messaging.tables import inbox, outbox, place, projection, read_meta, set_aside
from messaging.transaction import Transaction
from runtime import correlation, telemetry
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.refusals import Refusal
from runtime.store import insert_ignore, upsert

log = get_logger()

Partition = tuple[str, int]

BEGINNING = -1
WAIT_FOR_PREVIOUS = timedelta(hours=1)
RETRIES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=60))
ADOPTED = "adopted"
"""Note in the store: some outbox rows came back from the bus, so reactions may exist already."""

MAX_ID = 64
"""Of an event's id. A record without one is known by where it lies, which is longer: it stays in
the table of what was set aside and needs no row in the inbox."""

_CHUNK = 900


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition is settled. ``offset`` -1: nothing of it."""

    offset: int
    event_id: str
    stamp: int
    era: int


@dataclass
class Outcome:
    """What a settled transaction asks of the caller once it is committed."""

    done: int = 0
    seeks: dict[Partition, int] = field(default_factory=dict)
    places: dict[Partition, Place] = field(default_factory=dict)
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    emitted: int = 0
    settled: list[Item] = field(default_factory=list)
    broken: list[Projection] = field(default_factory=list)
    aside: bool = False


class HandlerFailed(Exception):  # noqa: N818 - it names what happened
    """The item at `index` could not be handled; `by` is the projection, or None for a policy."""

    def __init__(self, index: int, error: Exception, by: Projection | None = None) -> None:
        super().__init__(index)
        self.index = index
        self.error = error
        self.by = by


class Overtaken(Exception):  # noqa: N818 - it names what happened
    """Another replica settled one of the same events meanwhile; the batch is looked at again."""


class Unattributed(Exception):  # noqa: N818
    """Something failed that no single item can be blamed for."""


class Live:
    """Which projections are filled now; shared by all who settle for a service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.projections: frozenset[Projection] = frozenset(service.all_projections)
        self.adopted = False

    def load(self, connection: sa.Connection) -> None:
        """Read what the store knows: which are live, and whether events were adopted."""
        states = {
            (name, version): state
            for name, version, state in connection.execute(
                sa.select(projection.c.name, projection.c.version, projection.c.state)
            )
        }
        self.projections = frozenset(
            p
            for p in self.service.all_projections
            if states.get((p.name, p.version), "live") == "live"
        )
        self.adopted = read_meta(connection, ADOPTED) is not None

    def missing(self) -> list[Projection]:
        """Projections that must be rebuilt before they are filled again."""
        return [p for p in self.service.all_projections if p not in self.projections]


class Attempt:
    """One transaction's worth of settling; thrown away when it is rolled back."""

    def __init__(
        self,
        live: Live,
        connection: sa.Connection,
        *,
        clock: Clock,
        ids: Ids,
        expected: Mapping[Partition, Place],
        careful: bool,
    ) -> None:
        self.service = live.service
        self.connection = connection
        self.expected = expected
        self.careful = careful
        self.outcome = Outcome()
        self.now: datetime = clock.now()
        self.tx = Transaction(self.service, connection, now=self.now, ids=ids)
        self.projections = ProjectionTransaction(connection, {})
        self.adopted = live.adopted
        self.live = [p for p in self.service.all_projections if p in live.projections]
        self.known: set[str] = set()
        self.aside_ids: set[str] = set()
        self.reacted: set[str] = set()
        self.inbox_rows: list[dict[str, str]] = []
        self.places: dict[Partition, Place] = {}
        self.stopped: set[Partition] = set()
        self.index = 0

    # places

    def lock_places(self, items: Sequence[Item]) -> None:
        """Lock the places of the batch's partitions, in order, and compare them."""
        names = sorted({(i.record.topic, i.record.partition) for i in items})
        insert_ignore(
            self.connection,
            place,
            [
                {
                    "side": "in",
                    "topic": topic,
                    "partition": number,
                    "record_offset": BEGINNING,
                    "event_id": "",
                    "stamp": 0,
                    "era": 0,
                }
                for topic, number in names
                if (topic, number) not in self.expected
            ],
        )
        rows = self.connection.execute(
            sa.select(place)
            .where(
                place.c.side == "in",
                sa.or_(
                    *(
                        sa.and_(place.c.topic == topic, place.c.partition == number)
                        for topic, number in names
                    )
                ),
            )
            .order_by(place.c.topic, place.c.partition)
            .with_for_update()
        )
        for row in rows:
            name = (row.topic, row.partition)
            found = Place(row.record_offset, row.event_id, row.stamp, row.era)
            self.places[name] = found
            if self.expected.get(name) != found:
                self._stop(name, found, seek=found.offset + 1)

    def _stop(self, name: Partition, at: Place, *, seek: int) -> None:
        self.stopped.add(name)
        self.outcome.seeks[name] = seek
        self.places[name] = at
        self.outcome.places[name] = at

    def begins(self, item: Item) -> bool:
        """Whether the item is the next one of the log that is known; moves the place to it."""
        record = item.record
        name = (record.topic, record.partition)
        if name in self.stopped:
            return False
        here = self.places[name]
        if (item.era > here.era and here.offset != BEGINNING) or record.offset <= here.offset:
            era = max(item.era, here.era)
            log.warning("log.read_from_beginning", topic=name[0], partition=name[1], era=era)
            self._stop(name, Place(BEGINNING, "", 0, era), seek=BEGINNING)
            return False
        moved = Place(record.offset, item.id[:64], record.stamp, max(item.era, here.era))
        self.places[name] = self.outcome.places[name] = moved
        return True

    # what is known

    def look_up(self, items: Sequence[Item], *, prefetch: bool = True) -> None:
        """Find in few queries which ids are settled, set aside or were reacted to, and let the
        policies load what the fresh ones name."""
        ids = {i.id for i in items}
        wanted = sorted(ids | {i.previous for i in items if i.previous})
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            self.known.update(
                self.connection.scalars(
                    sa.select(inbox.c.event_id).where(inbox.c.event_id.in_(part))
                )
            )
        self.outcome.aside = bool(
            self.connection.scalar(sa.select(sa.exists().where(set_aside.c.event_id.is_not(None))))
        )
        if self.outcome.aside:
            part = sorted(ids)
            self.aside_ids.update(
                self.connection.scalars(
                    sa.select(set_aside.c.event_id).where(set_aside.c.event_id.in_(part))
                )
            )
        if self.adopted:
            self.reacted.update(
                self.connection.scalars(
                    sa.select(outbox.c.cause).where(outbox.c.cause.in_(sorted(ids)))
                )
            )
        if not prefetch:
            return
        fresh = [
            i.content for i in items if isinstance(i.content, Received) and i.id not in self.known
        ]
        try:
            self.service.policies.prefetch(self.tx, fresh)
        except Exception as error:
            if is_transient(error):
                raise
            raise Unattributed from error

    def knows(self, event_id: str) -> None:
        """Look one id up, when nothing of its record is needed."""
        if connection_knows(self.connection, event_id):
            self.known.add(event_id)
        self.outcome.aside = True

    # one item

    def one(self, index: int, item: Item, refused: str) -> None:
        """Settle one item, or set it aside."""
        self.index = index
        content = item.content
        if isinstance(content, Marker) or item.id in self.known or item.id in self.aside_ids:
            return
        if refused:
            first = self.now + RETRIES[0]
            self._set_aside(item, "retrying", refused, tries=1, next_try=first)
        elif isinstance(content, Unreadable):
            log.error("event.dead", event_id=item.id, event_type=item.type, reason=content.spoken())
            self._set_aside(item, "dead", content.spoken())
            self.count_as_settled(item.id, item.record.topic)
        elif content.previous and content.previous not in self.known:
            deadline = self.now + WAIT_FOR_PREVIOUS
            self._set_aside(item, "waiting", f"previous: {content.previous}", next_try=deadline)
        else:
            self._apply(item, content)
            self.count_as_settled(item.id, item.record.topic)

    def settle_alone(self, item: Item) -> None:
        """Settle an item that had been set aside; its row goes."""
        assert isinstance(item.content, Received)
        self._apply(item, item.content)
        self.connection.execute(sa.delete(set_aside).where(set_aside.c.event_id == item.id))
        self.count_as_settled(item.id, item.record.topic)

    def count_as_settled(self, event_id: str, topic: str) -> None:
        """The id is done; whoever waited for it passes now."""
        settled = [(event_id, topic)]
        while settled:
            done, source = settled.pop()
            if done not in self.known:
                self.known.add(done)
                if len(done) <= MAX_ID:
                    self.inbox_rows.append({"event_id": done, "source": source})
            if not self.outcome.aside:
                continue
            for row in self.connection.execute(
                sa.select(set_aside).where(
                    set_aside.c.previous == done, set_aside.c.state == "waiting"
                )
            ).all():
                follower = aside.item_of(row)
                if isinstance(follower.content, Received):
                    self._apply(follower, follower.content)
                    self.connection.execute(
                        sa.delete(set_aside).where(set_aside.c.event_id == row.event_id)
                    )
                    settled.append((row.event_id, row.topic))

    def _apply(self, item: Item, received: Received[Event]) -> None:
        with (
            correlation.bind(received.correlation or received.id),
            telemetry.continue_trace(received.traceparent, received.type),
        ):
            self._react(item, received)

    def _react(self, item: Item, received: Received[Event]) -> None:
        self.tx.handle(received)
        event = type(received.event)
        if item.id not in self.reacted:
            for policy in self.service.policies.of(event):
                try:
                    policy(self.tx, received)
                except Exception as error:
                    raise HandlerFailed(self.index, error) from error
        for read_model in self.live:
            function = read_model.of(event)
            if function is None:
                continue
            try:
                if self.careful:
                    self.tx.flush()
                    with self.connection.begin_nested():
                        function(self.projections, received)
                else:
                    function(self.projections, received)
            except Exception as error:
                if not self.careful or is_transient(error):
                    raise HandlerFailed(self.index, error, read_model) from error
                self._broken(read_model, error)
        self.outcome.settled.append(item)
        self.tx.handle(None)

    def _broken(self, read_model: Projection, error: Exception) -> None:
        log.error("projection.failed", projection=read_model.name, reason=reason_of(error))
        upsert(
            self.connection,
            projection,
            [{"name": read_model.name, "version": read_model.version, "state": "broken"}],
            key=("name", "version"),
        )
        self.live.remove(read_model)
        self.outcome.broken.append(read_model)

    def _set_aside(
        self,
        item: Item,
        state: str,
        reason: str,
        *,
        tries: int = 0,
        next_try: datetime | None = None,
    ) -> None:
        aside.put(self.connection, item, state, reason, tries=tries, next_try=next_try, at=self.now)
        self.aside_ids.add(item.id)
        self.outcome.aside = True

    def close(self) -> None:
        """Write the inbox, the sets, the places and, last, the outbox."""
        if self.inbox_rows:
            try:
                self.connection.execute(sa.insert(inbox), self.inbox_rows)
            except sa.exc.IntegrityError as error:
                raise Overtaken from error
        moved = [
            {
                "side": "in",
                "topic": name[0],
                "partition": name[1],
                "record_offset": at.offset,
                "event_id": at.event_id,
                "stamp": at.stamp,
                "era": at.era,
            }
            for name, at in sorted(self.outcome.places.items())
        ]
        self.tx.flush()
        upsert(self.connection, place, moved, key=("side", "topic", "partition"))
        self.outcome.emitted = self.tx.close()
        self.outcome.callbacks = self.tx.callbacks


def reason_of(error: BaseException) -> str:
    """Why, without any value that might be personal."""
    if isinstance(error, NotYet):
        return f"not_yet: {error}"[:500]
    if isinstance(error, Refusal):
        return f"refused: {error.reason}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}"


def connection_knows(connection: sa.Connection, event_id: str) -> bool:
    """Whether the inbox has this id."""
    return bool(connection.scalar(sa.select(sa.exists().where(inbox.c.event_id == event_id))))
