"""One attempt to settle: a transaction's worth, thrown away when it is rolled back.

`messaging.settle` decides what is attempted and what happens after a failure; here is what one
transaction does, record by record.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

import sqlalchemy as sa

from contracts import COMPACTED, Event
from messaging import aside
from messaging.envelope import Item, Marker, Received, Unreadable
from messaging.outcome import (
    ADOPTED,
    BEGINNING,
    RETRIES,
    WAIT_FOR_PREVIOUS,
    HandlerFailed,
    NeedsCare,
    Outcome,
    Overtaken,
    Partition,
    Place,
    Unattributed,
    live_projections,
    row_of,
)
from messaging.reactions import (
    NotYet,
    Projection,
    ProjectionTransaction,
    ReadModelFailed,
)
from messaging.service import Service
from messaging.tables import inbox, meta, outbox, place, projection, read_meta, set_aside
from messaging.transaction import Transaction
from runtime import correlation, telemetry
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.named import among, those_of
from runtime.prepared import Prepared, RefusedTogether
from runtime.refusals import Refusal
from runtime.store import insert, insert_ignore, together, upsert

log = get_logger()

MAX_ID = 64
"""Of an event's id. A record without one is known by where it lies, which is longer: it stays in
the table of what was set aside and needs no row in the inbox."""

RELEASE_AT_ONCE = 200
"""Events that pass in one transaction because the one they waited for came; the others follow with
the next look at what is due, so that the store is not held for a whole backlog."""

__all__ = [
    "ADOPTED",
    "BEGINNING",
    "RETRIES",
    "Attempt",
    "HandlerFailed",
    "NeedsCare",
    "Outcome",
    "Overtaken",
    "Partition",
    "Place",
    "Unattributed",
    "connection_knows",
    "reason_of",
]


class Attempt:
    """One transaction's worth of settling; thrown away when it is rolled back."""

    def __init__(
        self,
        service: Service,
        connection: sa.Connection,
        *,
        clock: Clock,
        ids: Ids,
        expected: Mapping[Partition, Place],
        gaps: Mapping[Partition, int],
        careful: bool,
        release: bool = True,
    ) -> None:
        self.service = service
        self.connection = connection
        self.expected = expected
        self.gaps = gaps
        self.careful = careful
        self.release = release
        self.outcome = Outcome()
        self.now: datetime = clock.now()
        self.projections = ProjectionTransaction(connection, {})
        self.tx = Transaction(
            self.service, connection, now=self.now, ids=ids, read_models=self.projections
        )
        self.live: list[Projection] = []
        self._fills: dict[type[Event], list[Projection]] = {}
        self.known: set[str] = set()
        self.aside_ids: set[str] = set()
        self.awaited: set[str] = set()
        self.adopted = False
        self.reacted: set[str] = set()
        self.inbox_rows: list[dict[str, str]] = []
        self.places: dict[Partition, Place] = {}
        self.stopped: set[Partition] = set()
        self.index = 0
        self.follower = ""

    # places

    def lock_places(self, items: Sequence[Item]) -> None:
        """Lock the places of the batch's partitions, in order, and compare them."""
        names = sorted({(i.record.topic, i.record.partition) for i in items})
        if not all(name in self.expected for name in names):
            insert_ignore(self.connection, place, [_unsettled(name) for name in names])
        found = {
            (topic, partition): Place(*at)
            for topic, partition, *at in _places_of(tuple(names)).tuples(self.connection)
        }
        for name in names:
            here = self.places[name] = found.get(name, Place(BEGINNING, "", 0, 0))
            if self.expected.get(name) != here:
                self._stop(name, here, seek=here.offset + 1)

    def _stop(self, name: Partition, at: Place, *, seek: int) -> None:
        self.stopped.add(name)
        self.outcome.seeks[name] = seek
        self.places[name] = at
        self.outcome.places[name] = at

    def begins(self, item: Item) -> bool:
        """Whether the item is the next one of the log that is known; moves the place to it.

        Where offsets are missing it is asked for once more what comes next: a client that dropped
        records has them then, and a log whose first ones were deleted begins at the same again.
        """
        record = item.record
        name = (record.topic, record.partition)
        if name in self.stopped:
            return False
        here = self.places[name]
        era = max(item.era, here.era)
        if (era > here.era and here.offset != BEGINNING) or record.offset <= here.offset:
            log.warning("log.read_from_beginning", topic=name[0], partition=name[1], era=era)
            self._stop(name, Place(BEGINNING, "", 0, era), seek=BEGINNING)
            return False
        missing = record.offset != here.offset + 1 and name[0] not in COMPACTED
        if missing and self.gaps.get(name) != record.offset:
            log.warning("log.gap", topic=name[0], partition=name[1], offset=here.offset + 1)
            self._stop(name, here, seek=here.offset + 1)
            self.outcome.gaps[name] = record.offset
            return False
        moved = Place(record.offset, item.id[:64], record.stamp, era)
        self.places[name] = self.outcome.places[name] = moved
        return True

    # what is known

    def look_up(self, items: Sequence[Item], *, prefetch: bool = True) -> None:
        """Find in few queries which ids are settled, set aside or were reacted to, and let the
        policies load what the fresh ones name."""
        self.live = live_projections(self.connection, self.service)
        ids = {i.id for i in items}
        wanted = sorted(ids | {before for i in items if (before := i.previous)})
        self.known.update(those_of(self.connection, inbox.c.event_id, wanted))
        ((some_aside, self.adopted),) = _STANDING.tuples(self.connection)
        if some_aside:
            part = sorted(ids)
            self.aside_ids.update(those_of(self.connection, set_aside.c.event_id, part))
            self.awaited.update(_AWAITED.scalars(self.connection, wanted=part))
        if self.adopted:
            self._note_reactions(ids)
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

    def _note_reactions(self, ids: Iterable[str]) -> None:
        self.reacted.update(those_of(self.connection, outbox.c.cause, sorted(ids)))

    def knows(self, event_id: str) -> None:
        """Look one id up, when nothing of its record is needed but that others wait for it."""
        self.live = live_projections(self.connection, self.service)
        if connection_knows(self.connection, event_id):
            self.known.add(event_id)
        self.adopted = read_meta(self.connection, ADOPTED) is not None
        self.awaited.add(event_id)

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

    def pass_over(self, item: Item) -> None:
        """An item that was set aside and settled besides: it lay in two partitions, and another
        process met the other one. Its row goes, and whoever waited for it passes."""
        self.connection.execute(sa.delete(set_aside).where(set_aside.c.event_id == item.id))
        self.awaited.add(item.id)
        self.count_as_settled(item.id, item.record.topic)

    def count_as_settled(self, event_id: str, topic: str) -> None:
        """The id is done; whoever waited for it passes now, or when `Settler.due` finds it."""
        settled = [(event_id, topic)]
        released = 0
        while settled:
            done, source = settled.pop()
            if done not in self.known:
                self.known.add(done)
                if len(done) <= MAX_ID:
                    self.inbox_rows.append({"event_id": done, "source": source})
            if self.release and (released or done in self.awaited) and released < RELEASE_AT_ONCE:
                for follower in self._waiting_for(done):
                    self._release(follower)
                    settled.append((follower.id, follower.record.topic))
                    released += 1

    def _waiting_for(self, event_id: str) -> list[Item]:
        rows = self.connection.execute(
            sa.select(set_aside)
            .where(set_aside.c.previous == event_id, set_aside.c.state == "waiting")
            .order_by(set_aside.c.event_id)
        ).all()
        items = [aside.item_of(row) for row in rows]
        self.known.update(those_of(self.connection, inbox.c.event_id, [i.id for i in items]))
        return [item for item in items if isinstance(item.content, Received)]

    def _release(self, follower: Item) -> None:
        assert isinstance(follower.content, Received)
        if follower.id not in self.known:
            if self.adopted:
                self._note_reactions([follower.id])
            self.follower = follower.id
            self._apply(follower, follower.content)
            self.follower = ""
        self.connection.execute(sa.delete(set_aside).where(set_aside.c.event_id == follower.id))

    def _apply(self, item: Item, received: Received[Event]) -> None:
        with correlation.bind(received.correlation or received.id):
            if telemetry.tracing():
                with telemetry.continue_trace(received.traceparent, received.type):
                    self._react(item, received)
            else:
                self._react(item, received)

    def _react(self, item: Item, received: Received[Event]) -> None:
        self.tx.handle(received)
        event = type(received.event)
        try:
            if item.id not in self.reacted:
                for policy in self.service.policies.of(event):
                    policy(self.tx, received)
            if self.careful:
                self.tx.flush()
        except Exception as error:
            raise self._failed(error) from error
        if event.TOMBSTONE:
            self._forget(received)
        for read_model in self._filled_from(event):
            self._remember(read_model, received)
        self.outcome.settled.append(item)
        self.tx.handle(None)

    def _filled_from(self, event: type[Event]) -> Sequence[Projection]:
        """The live read models that want to remember events of this type."""
        found = self._fills.get(event)
        if found is None:
            found = self._fills[event] = [p for p in self.live if event in p.events]
        return found

    def _forget(self, received: Received[Event]) -> None:
        """What was set aside of somebody who is erased now goes with its bytes: the tombstone is
        newer than all of it, and nobody waits for it on a compacted topic."""
        self.connection.execute(
            sa.delete(set_aside).where(
                set_aside.c.topic == received.topic, set_aside.c.key == received.key
            )
        )

    def _remember(self, read_model: Projection, received: Received[Event]) -> None:
        try:
            if self.careful:
                with self.connection.begin_nested():
                    self.projections.apply(read_model, received)
                    self.projections.flush()
            else:
                self.projections.apply(read_model, received)
        except Exception as error:
            if not self.careful or is_transient(error):
                raise self._failed(error, read_model) from error
            self.projections.forget()
            self._broken(read_model, error)

    def _failed(self, error: Exception, by: Projection | None = None) -> HandlerFailed:
        """A read model's rows may be written long after its event, and before a policy reads."""
        blamed = (
            (error.error, error.read_model) if isinstance(error, ReadModelFailed) else (error, by)
        )
        return HandlerFailed(self.index, *blamed, follower=self.follower)

    def _broken(self, read_model: Projection, error: Exception) -> None:
        cause = error.error if isinstance(error, ReadModelFailed) else error
        log.error("projection.failed", projection=read_model.name, reason=reason_of(cause))
        upsert(
            self.connection,
            projection,
            [{"name": read_model.name, "version": read_model.version, "state": "broken"}],
            key=("name", "version"),
        )
        self.live.remove(read_model)
        self._fills = {}
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
        if state == "waiting" and item.previous:
            self.awaited.add(item.previous)

    def close(self) -> None:
        """Write the sets, the inbox, the places and, last, the outbox."""
        if self.careful:
            self._write()
        else:
            self._write_together()
        self.outcome.emitted = self.tx.close()
        self.outcome.callbacks = self.tx.take_callbacks()
        self.outcome.scheduled = self.tx.scheduled

    def _write_together(self) -> None:
        """By one statement where that is possible: a refusal does not say whose row it was."""
        try:
            with together(self.connection):
                self._write()
        except RefusedTogether as refused:
            raise (Overtaken if refused.table == inbox.name else NeedsCare) from refused
        except sa.exc.DBAPIError as error:
            if is_transient(error):
                raise
            raise NeedsCare from error

    def _write(self) -> None:
        try:
            self.tx.flush()
        except ReadModelFailed as error:
            raise self._failed(error) from error
        if self.inbox_rows:
            # In the order of their ids: two replicas that meet on two events wait, not deadlock.
            self.inbox_rows.sort(key=lambda row: row["event_id"])
            try:
                insert(self.connection, inbox, self.inbox_rows)
            except sa.exc.IntegrityError as error:
                raise Overtaken from error
        moved = [row_of("in", name, at) for name, at in sorted(self.outcome.places.items())]
        upsert(self.connection, place, moved, key=("side", "topic", "partition"))


def reason_of(error: BaseException) -> str:
    """Why, without any value that might be personal."""
    if isinstance(error, NotYet):
        return f"not_yet: {error}"[:500].replace("\0", "\ufffd")
    if isinstance(error, Refusal):
        return f"refused: {error.reason}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}"


def connection_knows(connection: sa.Connection, event_id: str) -> bool:
    """Whether the inbox has this id."""
    return bool(connection.scalar(sa.select(sa.exists().where(inbox.c.event_id == event_id))))


_STANDING = Prepared(
    sa.select(
        sa.exists().where(set_aside.c.event_id.is_not(None)).label("some_aside"),
        sa.exists().where(meta.c.name == ADOPTED).label("adopted"),
    )
)
"""Whether anything is set aside, and whether anything was adopted: mostly not, and three queries
are saved."""


@lru_cache(maxsize=256)
def _places_of(names: tuple[Partition, ...]) -> Prepared:
    """The places of these partitions, locked in order."""
    mine = sa.or_(*(sa.and_(place.c.topic == t, place.c.partition == n) for t, n in names))
    columns = ("topic", "partition", "record_offset", "event_id", "stamp", "era")
    return Prepared(
        sa.select(*(place.c[name] for name in columns))
        .where(place.c.side == "in", mine)
        .order_by(place.c.topic, place.c.partition)
        .with_for_update()
    )


_AWAITED = Prepared(
    lambda dialect: sa.select(set_aside.c.previous).where(
        set_aside.c.state == "waiting", among(dialect, set_aside.c.previous)
    )
)
"""Which of some ids are waited for."""


def _unsettled(name: Partition) -> dict[str, object]:
    return row_of("in", name, Place(BEGINNING, "", 0, 0))
