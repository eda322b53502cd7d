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
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from messaging.attempt import Outcome, Partition
from messaging.bus import Bus, asked_to_stop, ended, record_of
from messaging.envelope import Item, decode
from messaging.follow import Follow, Looked
from messaging.settle import MOST, Settler
from messaging.turn import Turn
from runtime.logging import get_logger
from runtime.store import Store

log = get_logger()

MAX_RECORDS = 500
LONG_POLL_MS = 500
"""Kafka answers at once when something comes; when nothing does, this often. A sign-out has two
seconds, and an idle house should rest."""

LOOK_EVERY = 30.0
LOOK_AFTER_ASSIGNMENT = 2.0
DEAD_AFTER_MS = 6_000
"""How long the group waits for a member that died: so long is a service that was killed, and is up
again after a second, without events. The least that a broker allows as it comes."""

ASSIGNMENT_PATIENCE = 2 * DEAD_AFTER_MS / 1000

LOOK_WHEN_BEHIND = 5.0
STUCK_AFTER = 15.0
"""Seconds behind a log that can be read, without one batch: the consumer is made anew."""

HELD_FOR = 15.0
"""Seconds until a partition is asked again that the client could not read."""

BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)

Forget = Callable[[Iterable[TopicPartition]], None]


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells the subscription which partitions are new here; nothing is awaited."""

    def __init__(self, revoked: Forget, assigned: Forget) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._assigned(assigned)


class _Patient(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer that waits until something is there. FastStream sleeps after an empty poll, as
    long as the poll was: short polls cost an idle house half a core, long ones a fact its haste
    (200 ms gave a p99 of 285 ms).

    A partition with something that the client cannot read (compressed in a way that it does not
    know, damaged on the broker's disk) fails the poll of all, and what the others gave is dropped,
    though their positions have moved. It is held for some seconds then, so that the others go on;
    `anew` has all of them read again from their places.
    """

    def __init__(self, *topics: str, anew: Forget, **options: Any) -> None:
        super().__init__(*topics, **options)
        self._anew = anew
        self._held_until = 0.0
        self.cannot_read = False

    async def getmany(self, *partitions: Any, **options: Any) -> dict[TopicPartition, Any]:
        found: dict[TopicPartition, Any] = {}
        while not found:
            if time.monotonic() >= self._held_until:
                self.resume(*self.paused())
            try:
                found = await super().getmany(*partitions, **options)
            except Exception:
                held = await self._unreadable()
                self.pause(*held)
                self._held_until = time.monotonic() + HELD_FOR
                self.cannot_read = True
                self._anew(self.assignment())
                if not held:
                    raise
            else:
                self.cannot_read = bool(self.paused())
        return found

    async def _unreadable(self) -> list[TopicPartition]:
        """The partitions that fail when each is asked for by itself, and anew."""
        asked = sorted(self.assignment())
        polls = (super(_Patient, self).getmany(tp, timeout_ms=2 * LONG_POLL_MS) for tp in asked)
        found: list[TopicPartition] = []
        for tp, answer in zip(
            asked, await asyncio.gather(*polls, return_exceptions=True), strict=True
        ):
            if isinstance(answer, Exception):
                found.append(tp)
                log.error(
                    "consumer.cannot_read",
                    topic=tp.topic,
                    partition=tp.partition,
                    reason=type(answer).__name__,
                )
        return found


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
        turn: Turn,
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
        self._follow = Follow(settler, store, turn)
        self._settled: dict[TopicPartition, int] = {}
        self._look_at = 0.0
        self._stopping = asyncio.Event()
        self.progressed = time.monotonic()
        self.working = False
        self._taking = False
        self._joined = False
        self._stuck = False
        """What is there did not come, and has not come since."""

    @property
    def connected(self) -> bool:
        """Whether the group has said what this process reads, and all of it can be read: it may be
        nothing, where there are more replicas than partitions."""
        consumer = self._consumer
        if self._stuck or (consumer is not None and consumer.cannot_read):
            return False
        return self._assigned or self._joined

    @property
    def _assigned(self) -> bool:
        consumer = self._consumer
        return consumer is not None and bool(consumer.assignment())

    @property
    def _consumer(self) -> _Patient | None:
        return self._subscriber.consumer if self._subscriber is not None else None

    async def run(self) -> None:
        """Read for ever, through any failure of the bus; ends when cancelled, after the batch at
        hand."""
        failures = 0
        self._stopping.clear()
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
                failures = 0 if time.monotonic() - began > LOOK_EVERY else failures + 1
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
            batch_timeout_ms=LONG_POLL_MS,
            fetch_max_wait_ms=LONG_POLL_MS,
            session_timeout_ms=DEAD_AFTER_MS,
            heartbeat_interval_ms=DEAD_AFTER_MS // 3,
            max_poll_interval_ms=600_000,
            listener=_Rebalances(self._forget, self._begin),
            parser=_parse,
            decoder=_decode,
            no_reply=True,
            title=self._group,
        )
        subscriber(self._take)
        self._broker, self._subscriber = broker, subscriber
        self.progressed = time.monotonic()
        async with asyncio.timeout(60):
            await broker.connect()
            reading = broker.config.broker_config
            made = cast("partial[AIOKafkaConsumer]", reading.builder)
            reading.builder = partial(_Patient, anew=self._begin, **made.keywords)
            await broker.start()

    async def _close(self) -> None:
        broker, self._broker, self._subscriber = self._broker, None, None
        self._joined = False
        if broker is not None:
            await ended(broker.stop())

    async def _watch(self) -> None:
        """Look after the consumer; returns when it should be made anew.

        An empty assignment that lasts is a fault that nobody reports, unless there are more
        replicas than partitions; and so are records that are there and do not come (aiokafka
        #1154).
        """
        empty_since = time.monotonic()
        behind_since: float | None = None
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            if self._assigned:
                empty_since = now
                await self._publish_offsets()
            elif now - empty_since > ASSIGNMENT_PATIENCE:
                if not await self._spare():
                    log.warning("consumer.no_assignment", topic=",".join(self._topics))
                    return
                empty_since = now
            if self._assigned and now >= self._look_at:
                looked = await self._look()
                behind = looked.behind and not self._taking
                # What came this moment is behind as well: only what stays is a fault.
                if not behind or behind_since is None or self.progressed > behind_since:
                    behind_since = now if behind else None
                    self._stuck &= behind
                elif now - behind_since > STUCK_AFTER:
                    log.warning("consumer.stuck", topic=",".join(self._topics))
                    self._stuck = True
                    return
                # Another log than the one known is filled by its writers now, and the client that
                # read the old one may be deaf to it.
                soon = behind or bool(looked.seeks)
                self._look_at = now + (LOOK_WHEN_BEHIND if soon else LOOK_EVERY)

    # settling

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        """Settle a batch whole, however long the store is away. Never raises: FastStream would log
        it and pass the records."""
        self._taking = True
        failures = 0
        try:
            while not self._stopping.is_set():
                try:
                    items = await asyncio.to_thread(_read, records)
                    seeks = await self._turn.take(partial(self._settle, items))
                except Exception as error:
                    pause = BACKOFF[min(failures, len(BACKOFF) - 1)]
                    failures += 1
                    log.warning("consumer.store_away", reason=type(error).__name__, error=error)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._stopping.wait()
                else:
                    self._seek(seeks)
                    self._note(items, seeks)
                    return
        finally:
            self._taking = False

    def _settle(self, items: Sequence[Item]) -> dict[Partition, int]:
        if self._stopping.is_set():
            return {}
        self.working, self.progressed, self._stuck = True, time.monotonic(), False
        try:
            return self._settler.settle_all(
                self._store.write_now,
                items,
                most=MOST[self._store.dialect],
                waiting=lambda: self._store.waiting,
                told=self._tell,
            )
        finally:
            self.working, self.progressed = False, time.monotonic()

    def _tell(self, outcome: Outcome) -> None:
        self.progressed = time.monotonic()
        self._told(outcome)

    # where to read

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        self._settler.forget((tp.topic, tp.partition) for tp in partitions)

    def _begin(self, assigned: Iterable[TopicPartition]) -> None:
        """Where to read on is in the store, and the answer to the first records that come. So some
        must come: read on from the group's offsets, a store that was restored from a backup would
        stay behind until the next event."""
        assigned = list(assigned)
        self._joined = True
        self._forget(assigned)
        consumer = self._consumer
        if consumer is not None:
            for tp in assigned:
                consumer.seek(tp, 0)
        self._look_at = time.monotonic() + LOOK_AFTER_ASSIGNMENT

    def _seek(self, seeks: Mapping[Partition, int]) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        assigned = consumer.assignment()
        for (topic, partition), offset in seeks.items():
            tp = TopicPartition(topic, partition)
            if tp in assigned:
                consumer.seek(tp, max(0, offset))

    def _note(self, items: Sequence[Item], seeks: Mapping[Partition, int]) -> None:
        for item in items:
            if (item.record.topic, item.record.partition) not in seeks:
                tp = TopicPartition(item.record.topic, item.record.partition)
                self._settled[tp] = item.record.offset + 1

    async def _publish_offsets(self) -> None:
        """Tell the group how far we are: only for tools to look at."""
        consumer = self._consumer
        settled, self._settled = self._settled, {}
        if consumer is None or not settled:
            return
        assigned = consumer.assignment()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await consumer.commit({tp: o for tp, o in settled.items() if tp in assigned})

    async def _look(self) -> Looked:
        """Look at every place: whether something is there that was not settled, and where to read
        on."""
        consumer = self._consumer
        if consumer is None:
            return Looked()
        try:
            async with self._bus.reader() as reader:
                assigned = [(tp.topic, tp.partition) for tp in consumer.assignment()]
                looked = await self._follow.look(reader, assigned)
        except Exception as error:
            log.warning("consumer.cannot_look", reason=type(error).__name__, error=error)
            return Looked()
        self._seek(looked.seeks)
        return looked

    async def _spare(self) -> bool:
        """Whether the group has more members than there are partitions: then one of them has
        nothing to read."""
        if not self._joined:
            return False
        try:
            async with self._bus.reader() as reader:
                partitions = len(await reader.ends(self._topics))
            return await self._bus.members(self._group) > partitions
        except Exception as error:
            log.warning("consumer.cannot_look", reason=type(error).__name__, error=error)
            return False

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
