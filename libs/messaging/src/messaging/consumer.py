"""The subscriber: FastStream over the real broker, raw records in, settled batches out.

Kafka's group only shares out partitions. Where to read on is said by the place in the store: after
every assignment the first batch is answered with a seek there (`settle`). The handler never raises:
FastStream would log it and pass the records (seen). A store that is away is waited for with the
same batch, for ever. Nothing is acknowledged to the group but offsets for tools to look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from messaging.attempt import BEGINNING, Outcome, Place
from messaging.bus import Bus, asked_to_stop, ended, record_of
from messaging.envelope import Item, decode
from messaging.settle import Settler
from messaging.tables import place
from runtime.logging import get_logger
from runtime.store import Store

log = get_logger()

MAX_RECORDS = 500
POLL_MS = 10
"""FastStream sleeps this long once more after an empty poll: 200 ms gave p99 285 ms, 10 ms 22."""

COMMIT_EVERY = 1.0
IDLE_CHECK = 30.0
ASSIGNMENT_PATIENCE = 10.0
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells the settler which partitions are new here; nothing is awaited."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._settler.forget((tp.topic, tp.partition) for tp in revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._settler.forget((tp.topic, tp.partition) for tp in assigned)


class Subscription:
    """Reads some topics with one consumer group until it is stopped."""

    def __init__(
        self,
        settler: Settler,
        store: Store,
        bus: Bus,
        *,
        topics: Sequence[str],
        group: str,
        turn: asyncio.Lock,
        told: Callable[[Outcome], None],
    ) -> None:
        self._settler = settler
        self._store = store
        self._bus = bus
        self._topics = tuple(topics)
        self._group = group
        self._turn = turn
        self._told = told
        self._broker: KafkaBroker | None = None
        self._subscriber: Any = None
        self._committed = 0.0
        self._last_record = time.monotonic()
        self._stopping = asyncio.Event()
        self.progressed = time.monotonic()
        self.working = False

    @property
    def connected(self) -> bool:
        """Whether partitions are assigned to this process now."""
        consumer = self._consumer
        return consumer is not None and bool(consumer.assignment())

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer if self._subscriber is not None else None

    async def run(self) -> None:
        """Read for ever, through any failure of the bus; ends when cancelled, after the batch at
        hand."""
        failures = 0
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._start()
                    await self._watch()
                except (Exception, asyncio.CancelledError) as error:
                    if asked_to_stop():
                        raise
                    log.warning("consumer.waits", reason=type(error).__name__, error=error)
                await self._close()
                failures = 0 if time.monotonic() - began > IDLE_CHECK else failures + 1
                await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
        finally:
            self._stopping.set()
            async with self._turn:
                pass
            await self._close()

    async def _start(self) -> None:
        broker = self._bus.broker(self._group)
        subscriber = broker.subscriber(
            *self._topics,
            group_id=self._group,
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_records=MAX_RECORDS,
            batch_timeout_ms=POLL_MS,
            fetch_max_wait_ms=100,
            max_poll_interval_ms=600_000,
            listener=_Rebalances(self._settler),
            parser=_parse,
            decoder=_decode,
            no_reply=True,
            title=self._group,
        )
        subscriber(self._take)
        self._broker, self._subscriber = broker, subscriber
        async with asyncio.timeout(60):
            await broker.start()

    async def _close(self) -> None:
        broker, self._broker, self._subscriber = self._broker, None, None
        if broker is not None:
            await ended(broker.stop())

    async def _watch(self) -> None:
        """An empty assignment that lasts is a fault that nobody reports; and a log that was made
        anew says nothing while it is quiet, so the record at the place is read again."""
        empty_since: float | None = None
        patience = ASSIGNMENT_PATIENCE
        while True:
            await asyncio.sleep(1)
            if self.connected:
                empty_since, patience = None, ASSIGNMENT_PATIENCE
            else:
                empty_since = empty_since or time.monotonic()
                if time.monotonic() - empty_since > patience:
                    log.warning("consumer.no_assignment", topic=",".join(self._topics))
                    return
            if time.monotonic() - self._last_record > IDLE_CHECK:
                self._last_record = time.monotonic()
                await self.check_places()

    # settling

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        """Settle a batch whole, however long the store is away. Never raises."""
        self._last_record = time.monotonic()
        items = await asyncio.to_thread(_read, records)
        failures = 0
        while not self._stopping.is_set():
            try:
                async with self._turn:
                    if self._stopping.is_set():
                        return
                    self.working = True
                    try:
                        seeks = await asyncio.shield(
                            asyncio.to_thread(
                                self._settler.settle_all,
                                self._write,
                                items,
                                waiting=lambda: self._store.waiting,
                                told=self._told,
                            )
                        )
                    finally:
                        self.working = False
                self.progressed = time.monotonic()
                await self._follow(items, seeks)
                return
            except Exception as error:
                pause = BACKOFF[min(failures, len(BACKOFF) - 1)]
                failures += 1
                log.warning("consumer.store_away", reason=type(error).__name__, error=error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()

    def _write(self, work: Callable[[sa.Connection], Outcome]) -> Outcome:
        return self._store.write_now(work)

    async def _follow(self, items: Sequence[Item], seeks: dict[tuple[str, int], int]) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        assigned = consumer.assignment()
        for (topic, partition), offset in seeks.items():
            tp = TopicPartition(topic, partition)
            if tp in assigned:
                if offset == BEGINNING:
                    consumer.seek(tp, 0)
                else:
                    consumer.seek(tp, offset)
        if time.monotonic() - self._committed < COMMIT_EVERY:
            return
        self._committed = time.monotonic()
        offsets = {
            TopicPartition(i.record.topic, i.record.partition): i.record.offset + 1
            for i in items
            if (i.record.topic, i.record.partition) not in seeks
        }
        with contextlib.suppress(Exception):
            await consumer.commit({tp: o for tp, o in offsets.items() if tp in assigned})

    # looking after the log

    async def check_places(self) -> None:
        """Read the record at every place again; where it is another, read from the beginning."""
        consumer = self._consumer
        if consumer is None:
            return
        async with self._bus.reader() as reader:
            for tp in consumer.assignment():
                name = (tp.topic, tp.partition)
                known = self._settler.expected.get(name)
                if known is None or known.offset == BEGINNING:
                    continue
                record = await reader.at(*name, known.offset)
                same = record is not None and (
                    record.offset > known.offset
                    or (decode(record).id[:64] == known.event_id and record.stamp == known.stamp)
                )
                if not same:
                    await self.read_again(name, known)

    async def read_again(self, name: tuple[str, int], known: Place) -> None:
        """Put the place of a partition before its beginning, unless it moved meanwhile."""
        log.warning("log.read_from_beginning", topic=name[0], partition=name[1], era=known.era)

        def move(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(place)
                .where(
                    place.c.side == "in",
                    place.c.topic == name[0],
                    place.c.partition == name[1],
                    place.c.record_offset == known.offset,
                    place.c.event_id == known.event_id,
                )
                .values(record_offset=BEGINNING, event_id="", stamp=0)
            )

        async with self._turn:
            await self._store.write(move)
            self._settler.forget([name])
        consumer = self._consumer
        tp = TopicPartition(*name)
        if consumer is not None and tp in consumer.assignment():
            consumer.seek(tp, 0)

    def rewind(self) -> None:
        """Have every partition looked at again; the places in the store say from where."""
        consumer = self._consumer
        if consumer is not None:
            for tp in consumer.assignment():
                consumer.seek(tp, 0)

    def lags(self) -> dict[tuple[str, int], int]:
        """Records that are there and not settled, by partition, as far as it is known."""
        consumer = self._consumer
        if consumer is None:
            return {}
        found = {}
        for tp in consumer.assignment():
            high = consumer.highwater(tp)
            known = self._settler.expected.get((tp.topic, tp.partition))
            if high is not None and known is not None:
                found[tp.topic, tp.partition] = max(0, high - known.offset - 1)
        return found


async def _parse(message: Any) -> KafkaMessage:
    """Raw records as they are: FastStream's own parsing cost a quarter of the throughput, and one
    undecodable header would fail the whole batch."""
    return KafkaMessage(body=message, raw_message=message, consumer=_NOBODY)


async def _decode(message: KafkaMessage) -> Any:
    return message.raw_message


class _Nobody:
    async def commit(self, *_: Any) -> None:
        """Offsets are published by `Subscription`, not per message."""

    def seek(self, *_: Any) -> None:
        """Seeks are made by `Subscription`."""


_NOBODY: Any = _Nobody()


def _read(records: Sequence[ConsumerRecord]) -> list[Item]:
    return [decode(record_of(r)) for r in records]
