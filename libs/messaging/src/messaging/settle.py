"""Settling events: exactly one effect for each, in one transaction with the inbox and the place.

What holds (each has a control in the tests that switches it off):

* **Inbox.** An event's id is inserted in the transaction of its effects; a known id means done.
* **Place.** The place of a partition is locked and compared first. One that this process did not
  write itself (a zombie, a second replica, a restored store) sends the reader there.
* **Era.** A higher era, or an offset that does not grow, means another log than the one known:
  that partition is read from its beginning, and ids drop what was done.
* **Previous.** An event whose ``previous`` is not settled waits in the store until it is.

Failures are sorted as DESIGN §3.5 says: transient ones are the caller's to wait out; a record that
cannot be read is dead at once; a policy that fails is tried once more alone, then after 1, 10 and
60 minutes, then dead; a projection that fails is marked broken and the event goes on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from contracts import Event
from messaging import aside
from messaging.envelope import Item, Marker, Received, Unreadable
from messaging.reactions import NotYet, Projection, ProjectionTransaction
from messaging.service import Service
from messaging.tables import inbox, outbox, place, projection, read_meta, set_aside
from messaging.transaction import Transaction
from runtime import correlation
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.refusals import Refusal
from runtime.store import insert_ignore, upsert

log = get_logger()

T = TypeVar("T")
Write = Callable[[Callable[[sa.Connection], T]], T]
Partition = tuple[str, int]

BEGINNING = -1
SLICE = timedelta(milliseconds=20)
"""How long a batch may hold the store while somebody else waits for it (DESIGN §3.4)."""

WAIT_FOR_PREVIOUS = timedelta(hours=1)
RETRIES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=60))
ADOPTED = "adopted"
"""Note in the store: some outbox rows came back from the bus, so reactions may exist already."""

MAX_ID = 64
"""Of an event's id. A record without one is known by where it lies, which is longer: it stays in
the table of what was set aside and needs no row in the inbox."""

_CHUNK = 900
_QUIET = 20
"""Batches of more events than this are logged in one line."""


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


class Settler:
    """Settles batches for one subscriber of a service. Used by one thread at a time."""

    def __init__(self, service: Service, *, clock: Clock, ids: Ids) -> None:
        self.service = service
        self.clock = clock
        self.ids = ids
        self.expected: dict[Partition, Place] = {}
        self.live: frozenset[Projection] = frozenset(service.all_projections)
        self.adopted = False
        self.now_ms: Callable[[], float] = _monotonic_ms

    def load(self, connection: sa.Connection) -> None:
        """Read what the store knows: which projections are live, whether events were adopted."""
        states = {
            (name, version): state
            for name, version, state in connection.execute(
                sa.select(projection.c.name, projection.c.version, projection.c.state)
            )
        }
        self.live = frozenset(
            p
            for p in self.service.all_projections
            if states.get((p.name, p.version), "live") == "live"
        )
        self.adopted = read_meta(connection, ADOPTED) is not None

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions were (re)assigned: the next batch begins with a seek to their place."""
        for name in partitions:
            self.expected.pop(name, None)

    # the whole way of a batch

    def settle_all(
        self,
        write: Write[Outcome],
        items: Sequence[Item],
        *,
        waiting: Callable[[], int] = lambda: 0,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> dict[Partition, int]:
        """Settle items in order, in as few transactions as their failures allow.

        `write` runs work in one transaction; `waiting` says whether others want the store; `told`
        is called after each commit. Returns where to seek.

        Raises what is transient; then nothing of the open batch is kept, and the same items may be
        given again.
        """
        seeks: dict[Partition, int] = {}
        queue: list[Sequence[Item]] = [items]
        careful = False
        while queue:
            chunk = [i for i in queue.pop(0) if (i.record.topic, i.record.partition) not in seeks]
            if not chunk:
                continue
            if self._passed(chunk[0]):
                chunk = [i for i in chunk if not self._passed(i)]
            begun = self.now_ms()

            def hurry(begun: float = begun) -> bool:
                return waiting() > 0 and self.now_ms() - begun > SLICE.total_seconds() * 1000

            try:
                outcome = write(
                    lambda c, chunk=chunk, careful=careful: self.settle(  # type: ignore[misc]
                        c, chunk, careful=careful, hurry=hurry
                    )
                )
            except Exception as error:
                failed = _failed(error, chunk)
                if failed is None:
                    queue[:0] = _halves(chunk)
                    continue
                if failed.by is not None and not careful:
                    careful = True
                    queue.insert(0, chunk)
                    continue
                if len(chunk) > 1:
                    at = failed.index
                    queue[:0] = [
                        part for part in (chunk[:at], [chunk[at]], chunk[at + 1 :]) if part
                    ]
                    continue
                outcome = self._put_aside(write, chunk[0], failed.error)
            self._commit(outcome, told)
            seeks.update(outcome.seeks)
            if outcome.done < len(chunk):
                queue.insert(0, chunk[outcome.done :])
        return seeks

    def _passed(self, item: Item) -> bool:
        """A batch that is given again after a transient failure may have been settled in part."""
        known = self.expected.get((item.record.topic, item.record.partition))
        return (
            known is not None
            and known.offset == item.record.offset
            and known.event_id == item.id[:64]
            and known.stamp == item.record.stamp
        )

    def _put_aside(self, write: Write[Outcome], item: Item, error: Exception) -> Outcome:
        log.warning(
            "event.retrying", event_id=item.id, event_type=item.type, reason=_reason(error), tries=1
        )
        return write(lambda c: self.settle(c, [item], refused=_reason(error)))

    def _commit(self, outcome: Outcome, told: Callable[[Outcome], None]) -> None:
        self.expected.update(outcome.places)
        for broken in outcome.broken:
            self.live = self.live - {broken}
            log.error("projection.broken", projection=broken.name, version=broken.version)
        if len(outcome.settled) <= _QUIET:
            for item in outcome.settled:
                if isinstance(item.content, Received):
                    log.info(
                        "event.settled",
                        correlation=item.content.correlation,
                        event_id=item.id,
                        event_type=item.type,
                    )
        else:
            log.info("events.settled", count=len(outcome.settled))
        told(outcome)
        for call in outcome.callbacks:
            call()

    # one transaction

    def settle(
        self,
        connection: sa.Connection,
        items: Sequence[Item],
        *,
        careful: bool = False,
        hurry: Callable[[], bool] = lambda: False,
        refused: str = "",
    ) -> Outcome:
        """Settle items in the caller's transaction. `careful` gives each projection a savepoint.
        `refused` sets the one item aside, to be tried again, with this reason."""
        attempt = _Attempt(self, connection, careful)
        attempt.lock_places(items)
        attempt.look_up(items, prefetch=not refused)
        for index, item in enumerate(items):
            if attempt.begins(item):
                attempt.one(index, item, refused)
            attempt.outcome.done = index + 1
            if hurry():
                break
        attempt.close()
        return attempt.outcome

    # what was set aside

    def due(self, connection: sa.Connection, *, limit: int = 100) -> list[str]:
        """Ids that should be tried now: retries that are due, waiting ones whose previous came or
        that have waited for an hour. In the order in which they came."""
        now = self.clock.now()
        came = sa.exists().where(inbox.c.event_id == set_aside.c.previous)
        return list(
            connection.scalars(
                sa.select(set_aside.c.event_id)
                .where(
                    set_aside.c.topic.in_(self.service.reads),
                    sa.or_(
                        sa.and_(
                            set_aside.c.state.in_(("retrying", "waiting")),
                            set_aside.c.next_try <= now,
                        ),
                        sa.and_(set_aside.c.state == "waiting", came),
                    ),
                )
                .order_by(set_aside.c.at, set_aside.c.topic, set_aside.c.record_offset)
                .limit(limit)
            )
        )

    def retry(
        self,
        write: Write[Outcome],
        event_id: str,
        *,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> str:
        """Try one set-aside event again, alone. Returns "" or the reason why it failed again.

        Raises what is transient.
        """
        try:
            outcome = write(lambda c: self._again(c, event_id))
        except Exception as error:
            failed = _failed(error, [None])
            reason = _reason(failed.error if failed else error)
            outcome = write(lambda c: self._still(c, event_id, reason))
            self._commit(outcome, told)
            return reason
        self._commit(outcome, told)
        return ""

    def _again(self, connection: sa.Connection, event_id: str) -> Outcome:
        attempt = _Attempt(self, connection, careful=True)
        row = aside.locked(connection, event_id)
        if row is None or row.state == "discarded":
            return attempt.outcome
        item = aside.item_of(row)
        if isinstance(item.content, Unreadable):
            raise HandlerFailed(0, NotYet(item.content.spoken()))
        if row.state == "waiting" and row.next_try <= self.clock.now():
            log.error("event.waited_too_long", event_id=event_id, event_type=item.type)
        attempt.look_up([item])
        attempt.settle_alone(item)
        attempt.close()
        return attempt.outcome

    def _still(self, connection: sa.Connection, event_id: str, reason: str) -> Outcome:
        attempt = _Attempt(self, connection, careful=True)
        row = aside.locked(connection, event_id)
        if row is None:
            return attempt.outcome
        tries = row.tries + 1
        alive = row.state in ("waiting", "retrying") and tries <= len(RETRIES)
        values = {
            "tries": tries,
            "reason": reason,
            "state": "retrying" if alive else "dead",
            "next_try": self.clock.now() + RETRIES[tries - 1] if alive else None,
        }
        connection.execute(
            sa.update(set_aside).where(set_aside.c.event_id == event_id).values(values)
        )
        if not alive:
            log.error(
                "event.dead", event_id=event_id, event_type=row.type, reason=reason, tries=tries
            )
            attempt.count_as_settled(event_id, row.topic)
            attempt.close()
        return attempt.outcome

    def discard(self, connection: sa.Connection, event_id: str, reason: str) -> Outcome:
        """Staff decide that an event shall have no effect: its id counts as settled and what waited
        for it passes."""
        attempt = _Attempt(self, connection, careful=True)
        row = aside.locked(connection, event_id)
        if row is not None:
            connection.execute(
                sa.update(set_aside)
                .where(set_aside.c.event_id == event_id)
                .values(state="discarded", reason=reason, next_try=None)
            )
            attempt.count_as_settled(event_id, row.topic)
            attempt.close()
        return attempt.outcome


class _Attempt:
    """One transaction's worth of settling; thrown away when it is rolled back."""

    def __init__(self, settler: Settler, connection: sa.Connection, careful: bool) -> None:
        self.settler = settler
        self.connection = connection
        self.careful = careful
        self.outcome = Outcome()
        self.now: datetime = settler.clock.now()
        self.tx = Transaction(settler.service, connection, now=self.now, ids=settler.ids)
        self.projections = ProjectionTransaction(connection, {})
        self.live = [p for p in settler.service.all_projections if p in settler.live]
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
                if (topic, number) not in self.settler.expected
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
            if self.settler.expected.get(name) != found:
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
        if self.settler.adopted:
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
            self.settler.service.policies.prefetch(self.tx, fresh)
        except Exception as error:
            if is_transient(error):
                raise
            raise _Unattributed from error

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
        with correlation.bind(received.correlation or received.id):
            self._react(item, received)

    def _react(self, item: Item, received: Received[Event]) -> None:
        self.tx.handle(received)
        event = type(received.event)
        if item.id not in self.reacted:
            for policy in self.settler.service.policies.of(event):
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
        log.error("projection.failed", projection=read_model.name, reason=_reason(error))
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


class _Unattributed(Exception):  # noqa: N818
    """Something failed that no single item can be blamed for."""


def _failed(error: Exception, chunk: Sequence[Item | None]) -> HandlerFailed | None:
    """What failed; None when the batch must be divided to find out. Raises what is transient."""
    if isinstance(error, Overtaken) or is_transient(error):
        raise error
    if isinstance(error, HandlerFailed):
        return error
    if len(chunk) > 1:
        return None
    cause = error.__cause__ if isinstance(error, _Unattributed) else error
    return HandlerFailed(0, cause if isinstance(cause, Exception) else error)


def _halves(chunk: Sequence[Item]) -> list[Sequence[Item]]:
    middle = len(chunk) // 2
    return [chunk[:middle], chunk[middle:]]


def _reason(error: BaseException) -> str:
    """Why, without any value that might be personal."""
    if isinstance(error, NotYet):
        return f"not_yet: {error}"[:500]
    if isinstance(error, Refusal):
        return f"refused: {error.reason}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}"


def _monotonic_ms() -> float:
    return time.monotonic() * 1000
