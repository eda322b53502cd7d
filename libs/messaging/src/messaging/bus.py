"""The way to Kafka: who we are there, and clients with the settings that keep what they say.

Every default that loses messages is changed here (`FACTS`: acks, idempotence, earliest, metadata
age). Nothing else in the house makes a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CorruptRecordException, for_code

from messaging.envelope import Record
from runtime.settings import Settings, secret

if TYPE_CHECKING:
    from faststream.kafka import KafkaBroker

METADATA_MAX_AGE_MS = 5_000
"""With the default of 300 s a topic made anew, or partitions added, are seen five minutes late."""

MAX_BATCH = 512 * 1024
"""Bytes; with aiokafka's 16 KiB and fsync per append, 4,500 records/s instead of 25,000."""

READ_TIMEOUT = 10.0
STOP_WITHIN = 10.0
READ_AT_ONCE = 1_024

SHORT_WAIT_MS = 10
"""A reader asks for what is there. With the usual 100 ms it would wait as long for each topic that
its client had not asked for before, and at each change of partitions for records that nobody wants:
two thirds of the time of `vicinato verify`."""


class BusAway(Exception):  # noqa: N818 - named as the staff would
    """Kafka does not answer, or a topic is not there (yet)."""


class LogDamaged(BusAway):
    """A record is not as it was written: nobody gets past it before its topic is made anew."""


class Silent(BusAway):
    """Nothing comes although something is there: Kafka is very slow, or finds nothing any more
    behind a length that its disk has damaged."""


@dataclass(frozen=True, slots=True)
class Bus:
    """Where Kafka is and who we are there. ``user`` empty: no sign-in (tests on a plain broker)."""

    address: str
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Bus | None:
        """The bus of these settings; None when there is none, and the outbox fills."""
        if not settings.kafka:
            return None
        password = secret(settings.kafka_secret_file, "kafka_secret_file")
        return cls(settings.kafka, settings.kafka_user, password)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "bootstrap_servers": self.address.split(","),
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
            "request_timeout_ms": 20_000,
            "retry_backoff_ms": 100,
        }
        if self.user:
            options |= {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return options

    def producer(self) -> AIOKafkaProducer:
        """A producer whose acknowledgement means: on the disk of every replica in sync."""
        return AIOKafkaProducer(
            acks="all",
            enable_idempotence=True,
            max_batch_size=MAX_BATCH,
            max_request_size=1_048_576,
            **self._options(),
        )

    def broker(self, client: str) -> KafkaBroker:
        """FastStream's broker, for the one subscriber of a service. Commands have none, and do not
        wait for its import."""
        from faststream.kafka import KafkaBroker
        from faststream.security import SASLScram512

        security = SASLScram512(username=self.user, password=self.password) if self.user else None
        return KafkaBroker(
            self.address.split(","),
            client_id=client,
            security=security,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            consumer_only=True,
            logger=None,
            apply_types=False,
        )

    async def cluster(self) -> str:
        """The id of the cluster; "" when the broker does not tell it."""
        async with self._admin() as admin:
            return str((await admin.describe_cluster()).get("cluster_id") or "")

    async def members(self, group: str) -> int:
        """How many members this consumer group has now.

        Raises:
            KafkaError: the broker does not tell, or not yet.
        """
        async with self._admin() as admin:
            (answer,) = await admin.describe_consumer_groups([group])
        ((error, _group, _state, _protocol_type, _protocol, members, *_rest),) = answer.groups
        if error:
            raise for_code(error)(f"the members of the group {group} are not told")
        return len(members)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._options())
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                await admin.start()
                yield admin
        finally:
            await ended(admin.close())

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        """A reader without a group, for looking records up and for rebuilding."""
        consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=SHORT_WAIT_MS,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_bytes=8 * 1024 * 1024,
            **self._options() | {"retry_backoff_ms": SHORT_WAIT_MS},
        )
        try:
            async with asyncio.timeout(READ_TIMEOUT * 2):
                await consumer.start()
            yield Reader(consumer)
        finally:
            await ended(consumer.stop())


class Reader:
    """Reads records where they lie."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic. Raises BusAway when it is not there."""
        return (await self._partitions([topic]))[topic]

    async def _partitions(self, topics: Sequence[str]) -> dict[str, list[int]]:
        """Asked together: each question is a journey, and a pause for topics not known yet."""
        async with asyncio.timeout(READ_TIMEOUT):
            # `partitions_for_topic` only knows subscribed topics; this asks for all, as `topics()`.
            cluster = await self._consumer._client.fetch_all_metadata()
        found = {topic: sorted(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        for topic, partitions in found.items():
            if not partitions:
                raise BusAway(f"the topic {topic} is not there")
        return found

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is there and the one after the last."""
        return (await self.all_bounds([(topic, partition)]))[topic, partition]

    async def all_bounds(
        self, names: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """`bounds` of some partitions, asked together."""
        there = [TopicPartition(*name) for name in names]
        async with asyncio.timeout(READ_TIMEOUT):
            begin = await self._consumer.beginning_offsets(there)
            end = await self._consumer.end_offsets(there)
        return {(tp.topic, tp.partition): (begin[tp], end[tp]) for tp in there}

    async def exactly(self, places: dict[tuple[str, int], int]) -> dict[tuple[str, int], Record]:
        """The records at these offsets, asked together; what is not there is left out."""
        ends = {name: offset + 1 for name, offset in places.items()}
        return {
            (record.topic, record.partition): record
            async for batch in self.read(places, ends)
            for record in batch
        }

    async def at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at an offset, or the first behind it when compaction took that one."""
        begin, end = await self.bounds(topic, partition)
        if offset < begin or offset >= end:
            return None
        async for batch in self.read({(topic, partition): offset}, {(topic, partition): end}):
            return batch[0]
        return None

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The offset after the last record, of every partition of these topics."""
        there = [
            TopicPartition(topic, partition)
            for topic, partitions in (await self._partitions(topics)).items()
            for partition in partitions
        ]
        async with asyncio.timeout(READ_TIMEOUT):
            ends = await self._consumer.end_offsets(there)
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        """All records from `starts` (inclusive; else the first) up to `ends` (exclusive), in
        batches of one partition each. All partitions are asked at once: one at a time, each costs
        a wait (`SHORT_WAIT_MS`).

        Raises:
            BusAway: the log was made anew, shorter, while it was read (then the client begins at
                its first record).
            Silent: nothing comes for a while although something should.
            LogDamaged: a record is not as it was written.
        """
        wanted = [
            TopicPartition(*name) for name, end in sorted(ends.items()) if starts.get(name, 0) < end
        ]
        async with asyncio.timeout(READ_TIMEOUT):
            first = await self._consumer.beginning_offsets(wanted)
            last = await self._consumer.end_offsets(wanted)
        at = {tp: max(starts.get(tp, 0), first[tp]) for tp in wanted}
        until = {tp: min(ends[tp], last[tp]) for tp in wanted}
        left = [tp for tp in wanted if at[tp] < until[tp]]
        if not left:
            return
        self._consumer.assign(left)
        for tp in left:
            self._consumer.seek(tp, at[tp])
        while left:
            try:
                got = await self._consumer.getmany(
                    *left, timeout_ms=int(READ_TIMEOUT * 1000), max_records=READ_AT_ONCE
                )
            except CorruptRecordException as error:
                topics = ", ".join(sorted({tp.topic for tp in left}))
                raise LogDamaged(f"a record on Kafka's disk is damaged, in {topics}") from error
            for tp, raw in got.items():
                if raw and raw[0].offset < at[tp]:
                    raise BusAway(f"{tp.topic}/{tp.partition} is another log now")
                records = [record_of(r) for r in raw if r.offset < until[tp]]
                if records:
                    yield records
            moved = bool(got)
            for tp in list(left):
                reached = await self._consumer.position(tp)
                moved = moved or reached > at[tp]
                at[tp] = max(reached, at[tp])
                if at[tp] >= until[tp]:
                    left.remove(tp)
                    self._consumer.pause(tp)
            if not moved:
                waited = ", ".join(f"{tp.topic}/{tp.partition} from {at[tp]} on" for tp in left)
                raise Silent(f"nothing comes of {waited}")


def record_of(raw: ConsumerRecord) -> Record:
    """A record of the client library as ours."""
    return Record(
        raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers
    )


def asked_to_stop() -> bool:
    """Whether the task at hand is cancelled by us. The client library lets cancellations of tasks
    of its own escape while a broker goes away (seen: a consumer that ended without a word)."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def ended(stopping: Coroutine[Any, Any, None]) -> None:
    """Let a client stop, for at most a few seconds, whatever it raises meanwhile."""
    await asyncio.wait({asyncio.ensure_future(stopping)}, timeout=STOP_WITHIN)
