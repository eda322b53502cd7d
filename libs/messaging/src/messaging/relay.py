"""The relay: takes unsent rows of the outbox to the bus, in the order in which they were committed.

One per service (a lock file on SQLite, a session's advisory lock on PostgreSQL). It awaits each
`send` in order and marks rows only after the acknowledgement. It never trusts a log: at the start,
after any error and every 30 s when idle it reads the record at its last place again (`reconcile`),
and every acknowledged offset must be above the last one. What does not fit means that the log was
cut, wiped or made anew: then a new producer object (an old one may share its id with another, and
acknowledged sends were lost that way), a higher era, and the outbox again from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from contracts import COMPACTED
from messaging import adoption, marks
from messaging.attempt import Place
from messaging.bus import Bus, BusAway, Reader, asked_to_stop, ended
from messaging.envelope import ERA_BEGUN, decode, wire_headers
from messaging.relay_lock import RelayLock, relay_lock
from messaging.service import Service
from runtime.clock import Clock
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.store import Store

log = get_logger()

AT_ONCE = 1_000
SEND_TIMEOUT = 30.0
IDLE_CHECK = 30.0
REPLICA_POLL = 1.0
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
MARKER_KEY = b"era"
"""Compacted topics refuse records without a key."""

_UNSENDABLE = (MessageSizeTooLargeError,)

Partition = tuple[str, int]


class LogCut(Exception):  # noqa: N818 - it names what happened
    """An acknowledged offset is not above the last: this is another log than the one known."""


class Relay:
    """Publishes a service's outbox until it is stopped."""

    def __init__(self, service: Service, store: Store, bus: Bus, *, clock: Clock, ids: Ids) -> None:
        self._service = service
        self._store = store
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._lock: RelayLock = relay_lock(store)
        self._partitioner = DefaultPartitioner()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places: dict[Partition, Place] = {}
        self._compare = False
        self.blocked: set[tuple[str, str]] = set()
        self.connected = False
        self.cluster = ""

    def wake(self) -> None:
        """Something was committed. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def compare(self) -> None:
        """At the next turn compare the whole log with the outbox, not only the last place."""
        self._compare = True
        self.wake()

    async def run(self) -> None:
        """Publish for ever; ends when cancelled. What is at work then is marked or sent again."""
        self._loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                try:
                    await self._lock.acquire()
                    async with contextlib.aclosing(self._turns()) as turns:
                        async for _ in turns:
                            failures = 0
                except LogCut as cut:
                    log.error("relay.log_cut", why=str(cut))
                except (Exception, asyncio.CancelledError) as error:
                    if asked_to_stop():
                        raise
                    pause = BACKOFF[min(failures, len(BACKOFF) - 1)]
                    failures += 1
                    log.warning("relay.waits", reason=type(error).__name__, error=error)
                    await asyncio.sleep(pause)
                finally:
                    self.connected = False
        finally:
            await self._lock.release()

    async def _turns(self) -> Any:
        """One connection's life: reconcile, then publish whatever comes. Yields after each turn."""
        producer = self._bus.producer()
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await producer.start()
            self.cluster = await self._bus.cluster()
            await self._reconcile(producer)
            self.connected = True
            checked = time.monotonic()
            while True:
                self._woken.clear()
                rows = await self._store.read(lambda c: marks.unsent(c, self.blocked, AT_ONCE))
                if rows:
                    await self._publish(producer, rows)
                    checked = time.monotonic()
                elif self._compare or time.monotonic() - checked >= IDLE_CHECK:
                    await self._reconcile(producer)
                    checked = time.monotonic()
                else:
                    replicas = self._store.dialect == "postgresql"
                    await self._sleep(REPLICA_POLL if replicas else IDLE_CHECK)
                yield None
        finally:
            await ended(producer.stop())

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    # sending

    async def _publish(self, producer: AIOKafkaProducer, rows: Sequence[Any]) -> None:
        sent: list[tuple[Any, int, int, asyncio.Future[Any]]] = []
        acknowledged: list[marks.Sent] = []
        async with asyncio.timeout(SEND_TIMEOUT):
            for row in rows:
                if (row.topic, row.key) in self.blocked:
                    continue
                key = row.key.encode()
                partition = await self._partition(producer, row.topic, key)
                era = self._era((row.topic, partition))
                stamp = int(time.time() * 1000)
                try:
                    future = await producer.send(
                        row.topic,
                        value=row.body,
                        key=key,
                        partition=partition,
                        timestamp_ms=stamp,
                        headers=wire_headers(
                            row.headers, previous=row.previous, cause=row.cause, era=era
                        ),
                    )
                except _UNSENDABLE as error:
                    self._block(row, error)
                    continue
                sent.append((row, partition, stamp, future))
            await asyncio.gather(*(f for *_, f in sent), return_exceptions=True)
        for row, partition, stamp, future in sent:
            try:
                answer = future.result()
            except _UNSENDABLE as error:
                self._block(row, error)
                continue
            acknowledged.append(
                marks.Sent(row.row, row.id, row.topic, partition, answer.offset, stamp)
            )
        places = self._advance(acknowledged)
        await self._lock.write(lambda c: marks.sent(c, acknowledged, places))
        self._places.update(places)
        for row in rows[:20] if len(rows) <= 20 else ():
            log.info(
                "event.sent",
                correlation=row.headers.get("correlation", ""),
                event_id=row.id,
                event_type=row.type,
            )
        if len(rows) > 20:
            log.info("events.sent", count=len(acknowledged))

    def _advance(self, acknowledged: Iterable[marks.Sent]) -> dict[Partition, Place]:
        """The places after these acknowledgements. Raises LogCut when an offset did not grow."""
        places: dict[Partition, Place] = {}
        for one in acknowledged:
            name = (one.topic, one.partition)
            here = places.get(name) or self._places.get(name)
            if here is not None and one.offset <= here.offset:
                raise LogCut(f"{one.topic}/{one.partition}: {one.offset} after {here.offset}")
            places[name] = Place(one.offset, one.event_id, one.stamp, self._era(name))
        return places

    def _block(self, row: Any, error: KafkaError) -> None:
        """A row that cannot be sent holds up its own key and no other."""
        self.blocked.add((row.topic, row.key))
        log.error(
            "relay.key_blocked",
            event_id=row.id,
            event_type=row.type,
            reason=type(error).__name__,
        )

    async def _partition(self, producer: AIOKafkaProducer, topic: str, key: bytes) -> int:
        partitions = sorted(await producer.partitions_for(topic))
        if not partitions:
            raise BusAway(f"the topic {topic} is not there")
        return int(self._partitioner(key, partitions, partitions))

    def _era(self, name: Partition) -> int:
        place = self._places.get(name)
        return place.era if place else 0

    # comparing with the log

    async def _reconcile(self, producer: AIOKafkaProducer) -> None:
        compare, self._compare = self._compare, False
        self._places = await self._store.read(marks.out_places)
        async with self._bus.reader() as reader:
            for topic in self._service.topics:
                partitions = await reader.partitions(topic)
                for gone in [n for n in self._places if n[0] == topic and n[1] not in partitions]:
                    await self._lock.write(partial(marks.forget, name=gone))
                    del self._places[gone]
                for partition in partitions:
                    await self._check(producer, reader, (topic, partition))
            if compare:
                await self._compare_all(reader)

    async def _check(self, producer: AIOKafkaProducer, reader: Reader, name: Partition) -> None:
        """Read the record at the place again; then what lies behind it."""
        begin, end = await reader.bounds(*name)
        place = self._places.get(name)
        if place is not None and not await self._same(reader, name, place, end):
            await self._begin_era(producer, reader, name, place, begin, end)
            return
        start = begin if place is None else place.offset + 1
        if start < end:
            await self._absorb(reader, name, start, end, place.era if place else 0)

    async def _same(self, reader: Reader, name: Partition, place: Place, end: int) -> bool:
        if end <= place.offset:
            return False
        record = await reader.at(*name, place.offset)
        if record is None or record.offset != place.offset:
            return name[0] in COMPACTED and record is not None
        return decode(record).id[:64] == place.event_id and record.stamp == place.stamp

    async def _begin_era(
        self,
        producer: AIOKafkaProducer,
        reader: Reader,
        name: Partition,
        place: Place,
        begin: int,
        end: int,
    ) -> None:
        """Another log: all its rows are unsent, but for those that are found in it."""
        await self._lock.write(lambda c: marks.forget(c, name))
        self._places.pop(name, None)
        found = await self._absorb(reader, name, begin, end, place.era)
        era = max(found, place.era) + 1
        log.error("relay.era_begun", topic=name[0], partition=name[1], era=era)
        event_id = self._ids.new()
        stamp = int(time.time() * 1000)
        async with asyncio.timeout(SEND_TIMEOUT):
            answer = await producer.send_and_wait(
                name[0],
                value=b"{}",
                key=MARKER_KEY,
                partition=name[1],
                timestamp_ms=stamp,
                headers=[
                    ("ce_id", event_id.encode()),
                    ("ce_type", ERA_BEGUN.encode()),
                    ("era", str(era).encode()),
                ],
            )
        at = Place(answer.offset, event_id, stamp, era)
        await self._lock.write(lambda c: marks.move(c, {name: at}))
        self._places[name] = at

    async def _absorb(self, reader: Reader, name: Partition, start: int, end: int, era: int) -> int:
        """Records of the log that the outbox may not know as sent: known ones are marked, unknown
        ones adopted. Moves the place behind them; returns the highest era met."""
        async for batch in reader.read({name: start}, {name: end}):
            items = [decode(record) for record in batch]
            era = max(era, *(item.era for item in items))
            last = items[-1]
            at = Place(last.record.offset, last.id[:64], last.record.stamp, era)
            await self._lock.write(
                partial(
                    adoption.absorb,
                    service=self._service,
                    items=items,
                    places={name: at},
                    now=self._clock.now(),
                    ids=self._ids,
                )
            )
            self._places[name] = at
        return era

    async def _compare_all(self, reader: Reader) -> None:
        """The whole log against the outbox: what is missing there is sent again."""
        for topic in self._service.topics:
            if topic in COMPACTED:
                continue
            there: set[str] = set()
            ends = await reader.ends([topic])
            async for batch in reader.read({}, ends):
                there.update(decode(record).id for record in batch)
            count = await self._lock.write(partial(marks.unsend_missing, topic=topic, there=there))
            if count:
                log.error("relay.missing_in_log", topic=topic, count=count)
