"""The relay: takes unsent rows of the outbox to the bus, in the order in which they were committed.

One per service (a lock file on SQLite, a session's advisory lock on PostgreSQL). It awaits each
`send` in order and marks rows only after the acknowledgement. It never trusts a log: at the start,
after any error and every 30 s it reads the record at its last place again (`reconcile`), and every
acknowledged offset must be the next one. What does not fit means that the log was cut, wiped
or made anew: then a new producer object (an old one may share its id with another, and acknowledged
sends were lost that way), a higher era, and the outbox again from there.

`run` does it for ever; `connect`, `turn` and `reconcile` are its steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from messaging import comparison, marks
from messaging.adoption import Adoption
from messaging.bus import Bus, BusAway, LogDamaged, Silent, asked_to_stop, ended
from messaging.flights import Batch, Flight, log_each
from messaging.gaps import Gaps
from messaging.outcome import Partition, Place
from messaging.partitioner import partition_of
from messaging.reconcile import SEND_TIMEOUT, LogCut, Reconcile
from messaging.relay_lock import RelayLock, relay_lock
from messaging.service import Service
from messaging.tables import read_meta, write_meta
from runtime.clock import Clock
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.store import Store, alone

log = get_logger()

AT_ONCE = 1_000
MOST_FLIGHTS = 2
"""How many lots of rows may be with the broker, or wait to be marked, at a time."""

MOST_IN_A_TURN = 20_000
"""Rows, before it is asked whether it is time for a look at the log."""

LONGEST_TURN = 1.0
"""Seconds, for the same: in traffic that never pauses there is always one more row."""

CHECK_IDLE = 30.0
CHECK_BUSY = 300.0
"""A busy relay looks at every acknowledgement anyway; this is for partitions that stay quiet."""

QUIET = 3.0
"""Idle is who sent nothing for so long: a look takes some 20 ms, in which facts wait."""

KEEP_EVERY = 15.0
"""How often an idle relay says that it is there (`relay_lock.IDLE`)."""

POLL = 1.0
"""For what other processes committed: another replica, or a command line."""

TRY_BLOCKED_EVERY = 15.0
"""Seconds. Events that we write fit; one that does not was refused by a setting of its topic."""

COMPARE_EVERY = timedelta(days=7)
COMPARED = "outbox.compared"
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)


class Relay:
    """Publishes a service's outbox until it is stopped."""

    def __init__(
        self,
        service: Service,
        store: Store,
        bus: Bus,
        *,
        clock: Clock,
        ids: Ids,
        at_once: int = AT_ONCE,
    ) -> None:
        self._service = service
        self._store = store
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._lock: RelayLock = relay_lock(store)
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._producer: AIOKafkaProducer | None = None
        self._places: dict[Partition, Place] = {}
        self._gaps = Gaps(store)
        self._checked = 0.0
        self._sent_at = 0.0
        self._kept_at = 0.0
        self._blocked_at = 0.0
        self._at_once = at_once
        self._backlog = False
        self._compare = False
        self._comparing: asyncio.Task[None] | None = None
        self.blocked: set[tuple[str, str]] = set()
        self.connected = False
        self.listened_to = False
        """Whether what is to be sent is taken; not yet while a first turn is under way."""
        self.cluster = ""
        self.reconciled = asyncio.Event()

    def wake(self) -> None:
        """Something was committed. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def compare(self) -> None:
        """Compare the whole log with the outbox as soon as possible, not only the last place."""
        self._compare = True
        self.wake()

    @property
    def standing_by(self) -> bool:
        """Whether another replica's relay sends."""
        return self._lock.waiting

    @property
    def log_lacks_some(self) -> bool:
        """Whether something that was sent was missing in the log, or damaged, at the last look."""
        return self._gaps.found

    @property
    def compares_soon(self) -> bool:
        """Whether the whole log is to be compared as soon as there is time."""
        return self._compare

    async def run(self) -> None:
        """Publish for ever; ends when cancelled. What is at work then is marked or sent again."""
        self._loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                try:
                    await self._lock.acquire()
                    await self.connect()
                    while True:
                        await self._step()
                        failures = 0
                except LogCut as cut:
                    log.error("relay.log_cut", why=str(cut))
                except (Exception, asyncio.CancelledError) as error:
                    if asked_to_stop():
                        raise
                    log.warning("relay.waits", reason=type(error).__name__, error=error)
                finally:
                    await self.disconnect()
                await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
                failures += 1
        finally:
            await self._lock.release()

    async def _step(self) -> None:
        self._woken.clear()
        self._expect_topics()
        now = time.monotonic()
        if self.blocked and now - self._blocked_at >= TRY_BLOCKED_EVERY:
            self.blocked.clear()
        sent = await self.turn()
        self.listened_to = True
        if sent:
            self._sent_at = now
        idle = now - self._sent_at >= QUIET
        soon = idle or self.log_lacks_some
        if now - self._checked >= (CHECK_IDLE if soon else CHECK_BUSY):
            await self.reconcile()
        elif sent < MOST_IN_A_TURN:
            if idle and now - self._kept_at >= KEEP_EVERY:
                await self._lock.keep()
                self._kept_at = now
            if self._compare and self._comparing is None:
                self._comparing = asyncio.create_task(self._compare_beside())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._woken.wait()

    async def connect(self) -> None:
        """A new producer, and a look at all own topics before anything is sent."""
        self.blocked.clear()
        self._producer = self._bus.producer()
        async with asyncio.timeout(SEND_TIMEOUT):
            await self._producer.start()
        self.cluster = await self._bus.cluster()
        await self.reconcile()
        for topic in self._service.topics:
            await self._partitions_of(topic)
        self.connected = True

    def _expect_topics(self) -> None:
        """All own topics are there, and we may see them, as the client last heard a few seconds
        ago: one to which nothing is sent just now would be missed after minutes otherwise.

        Raises:
            BusAway: one is not.
        """
        assert self._producer is not None
        known = self._producer.client.cluster
        for topic in self._service.topics:
            if not known.partitions_for_topic(topic):
                raise BusAway(f"the topic {topic} is not there")

    async def disconnect(self) -> None:
        """Let go of the bus; the lock stays."""
        self.connected = self.listened_to = False
        if self._comparing is not None:
            self._comparing.cancel()
            await asyncio.wait({self._comparing})
            self._comparing = None
        producer, self._producer = self._producer, None
        if producer is not None:
            await ended(producer.stop())

    async def reconcile(self) -> None:
        """Read the records at the own places again, and what lies behind them."""
        assert self._producer is not None
        self._places = await self._store.read(marks.out_places)
        async with self._bus.reader() as reader:
            work = Reconcile(
                self._lock, reader, self._producer, self._places, self._adoption(), self._ids
            )
            await work.run(self._service.topics)
            self.reconciled.set()
            await self._gaps.look(reader, work.bounds, self._places)
        if self._gaps.owed:
            self._compare = True
        self._checked = time.monotonic()
        last = await self._store.read(partial(read_meta, name=COMPARED))
        if last is None or self._clock.now() - datetime.fromisoformat(last) >= COMPARE_EVERY:
            self._compare = True

    def _adoption(self) -> Adoption:
        return Adoption(self._service, now=self._clock.now(), ids=self._ids)

    async def compare_log(self) -> int:
        """The whole log against the outbox; how many rows were missing there and are sent again."""
        self._compare = False
        now, there = self._clock.now().isoformat(), self._gaps.now()
        async with self._bus.reader() as reader:
            count = await comparison.compare(
                self._store, self._lock, reader, self._service.topics, self._adoption()
            )
        await self._lock.write(partial(write_meta, name=COMPARED, value=now))
        self._gaps.compared(*there)
        self._woken.set()
        return count

    async def _compare_beside(self) -> None:
        """Others go on sending meanwhile: a log of a year takes minutes."""
        try:
            await self.compare_log()
        except Exception as error:
            if isinstance(error, (LogDamaged, Silent)):
                self._gaps.doubt()
            log.warning("relay.comparison_failed", reason=type(error).__name__, error=error)
        finally:
            self._comparing = None

    # sending

    async def turn(self) -> int:
        """Send what is unsent, the oldest first, and mark it, until nothing is left, or
        `MOST_IN_A_TURN` or `LONGEST_TURN` is reached. How many rows were taken.

        While some rows wait for their acknowledgements the next are read and sent, and those before
        are marked; also what is committed meanwhile, which would otherwise wait for all of that. A
        crash between leaves all of them sent and unmarked: the next `reconcile` finds them in the
        log.
        """
        taken = 0
        until = time.monotonic() + LONGEST_TURN
        flights: list[Flight] = []
        reading: asyncio.Future[Sequence[marks.Unsent]] | None = None
        rows = await self._unsent()
        try:
            while rows and taken < MOST_IN_A_TURN:
                full = len(rows) >= self._at_once
                if full:
                    there = [row for flight in flights for row in flight.rows]
                    reading = asyncio.ensure_future(self._unsent(*there, *rows))
                flight = await self._send(rows)
                flight.landed = asyncio.ensure_future(self._land(flight, flights[-1:]))
                flights.append(flight)
                taken += len(rows)
                if full:
                    assert reading is not None
                    rows, reading = await reading, None
                    more = bool(rows)
                else:
                    more = time.monotonic() < until and await self._woken_before(flight.landed)
                if await self._landed(flights, MOST_FLIGHTS - 1 if more else 0):
                    rows = await self._unsent()
                elif not full:
                    there = [row for flight in flights for row in flight.rows]
                    rows = await self._unsent(*there) if more else ()
            await self._landed(flights, 0)
        finally:
            for flight in flights:
                flight.give_up()
            beside = {one for one in (reading, *(f.landed for f in flights)) if one is not None}
            await asyncio.gather(*beside, return_exceptions=True)
        return taken

    async def _woken_before(self, landed: asyncio.Future[None]) -> bool:
        """Whether something was committed before a flight has landed."""
        woken = asyncio.ensure_future(self._woken.wait())
        either: set[asyncio.Future[Any]] = {woken, landed}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        if not self._woken.is_set() or landed.done():
            return False
        self._woken.clear()
        return True

    async def _landed(self, flights: list[Flight], at_most: int) -> bool:
        """Wait until no more flights than these are under way. Rows of one that was refused are
        sent again, each alone, once nothing else is; whether there were any.

        One that does not fit its topic takes its batch with it; what then still fails blocks its
        key.
        """
        while len(flights) > at_most:
            await flights[0].landed
            if flights[0].refused:
                for later in flights:
                    await later.landed
                for row in [row for flight in flights for row in flight.refused]:
                    alone = await self._send([row])
                    await self._land(alone, ())
                    if alone.refused:
                        self._block(row)
                flights.clear()
                return True
            del flights[0]
        return False

    async def _unsent(self, *underway: marks.Unsent) -> Sequence[marks.Unsent]:
        blocked, apart = tuple(sorted(self.blocked)), [row.row for row in underway]
        backlog = self._backlog

        def ask(connection: sa.Connection) -> Sequence[marks.Unsent]:
            with contextlib.nullcontext() if backlog else alone(connection):
                return marks.unsent(
                    connection, blocked, self._at_once, underway=apart, backlog=backlog
                )

        found = await self._store.read(ask)
        self._backlog = len(found) >= self._at_once
        return found

    async def _send(self, rows: Iterable[marks.Unsent]) -> Flight:
        """Hand rows to the client in order, without those of blocked keys.

        They are put into batches here and not one by one by the client, which would make a future
        for each (`docs/benchmarks.md`, c).
        """
        assert self._producer is not None
        flight = Flight()
        filling: dict[Partition, Batch] = {}
        partitions: dict[str, list[int]] = {}
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                for row in rows:
                    flight.rows.append(row)
                    if self.blocked and (row.topic, row.key) in self.blocked:
                        continue
                    if row.topic not in partitions:
                        partitions[row.topic] = await self._partitions_of(row.topic)
                    key = row.key.encode()
                    name = (row.topic, partition_of(key, partitions[row.topic]))
                    batch = filling.get(name)
                    if batch is None or not batch.add(row, key):
                        if batch is not None:
                            await self._post(batch, flight)
                        batch = Batch(name, self._era(name), self._producer.create_batch())
                        filling[name] = batch
                        batch.add(row, key)
                for batch in filling.values():
                    await self._post(batch, flight)
        except BaseException:
            flight.give_up()
            raise
        return flight

    async def _post(self, batch: Batch, flight: Flight) -> None:
        """Hand a batch to the client, behind what waits for the same partition."""
        assert self._producer is not None
        topic, partition = batch.name
        answer = await self._producer.send_batch(batch.builder, topic, partition=partition)
        flight.posted.append((batch, answer))

    async def _land(self, flight: Flight, before: Sequence[Flight]) -> None:
        """Wait for the acknowledgements of a flight and mark its rows, after those before it."""
        async with asyncio.timeout(SEND_TIMEOUT):
            acknowledged = await flight.answers()
        for earlier in before:
            await earlier.landed
        places = self._advance(acknowledged)
        self._places.update(places)

        def mark(connection: sa.Connection) -> None:
            with alone(connection):
                marks.sent(connection, acknowledged, places)

        await self._lock.write(mark)
        if len(acknowledged) <= 20:
            log_each(flight.rows, acknowledged)
        else:
            log.info("events.sent", count=len(acknowledged))

    async def _partitions_of(self, topic: str) -> list[int]:
        assert self._producer is not None
        partitions = sorted(await self._producer.partitions_for(topic))
        if not partitions:
            raise BusAway(f"the topic {topic} is not there")
        return partitions

    def _advance(self, acknowledged: Iterable[marks.Sent]) -> dict[Partition, Place]:
        """The places after these acknowledgements. Raises LogCut when an offset is not the next:
        nobody else writes here, so that something is gone, or was put between by a client of ours
        that was given up, perhaps into another log."""
        last: dict[Partition, marks.Sent] = {}
        reached = {name: place.offset for name, place in self._places.items()}
        for one in acknowledged:
            name = (one.topic, one.partition)
            before = reached.get(name)
            if before is not None and one.offset != before + 1:
                raise LogCut(f"{one.topic}/{one.partition}: {one.offset} after {before}")
            reached[name], last[name] = one.offset, one
        return {
            name: Place(one.offset, one.event_id, one.stamp, self._era(name))
            for name, one in last.items()
        }

    def _block(self, row: Any) -> None:
        """A row that is too large for its topic holds up its own key and no other, until it can."""
        self.blocked.add((row.topic, row.key))
        self._blocked_at = time.monotonic()
        log.error(
            "relay.key_blocked",
            event_id=row.id,
            event_type=row.type,
            reason=MessageSizeTooLargeError.__name__,
        )

    def _era(self, name: Partition) -> int:
        place = self._places.get(name)
        return place.era if place else 0
