"""The whole log of a bus, read in one go and kept: `verify` looks at it again and again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException

from messaging.bus import Bus, BusAway, LogDamaged, record_of
from messaging.envelope import Record
from vicinato.kafka.topics import Topics

Partition = tuple[str, int]
AT_ONCE = 5_000
SILENT_MS = 10_000


@dataclass
class CopiedBus:
    """`messaging.bus.Bus` as far as `verify` needs it; each reader is a copy made when it opens.
    Raises BusAway, or LogDamaged, which is one."""

    bus: Bus

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Copy]:
        consumer = AIOKafkaConsumer(
            group_id=None, enable_auto_commit=False, fetch_max_wait_ms=50, **self.bus._options()
        )
        await consumer.start()
        try:
            yield await _copy(consumer)
        finally:
            await consumer.stop()


async def _copy(consumer: Any) -> Copy:
    cluster = await consumer._client.fetch_all_metadata()
    partitions = [
        TopicPartition(topic, number)
        for topic in Topics.read().names
        for number in cluster.partitions_for_topic(topic) or ()
    ]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    left = {tp for tp in partitions if begins[tp] < ends[tp]}
    for tp in partitions:
        consumer.seek(tp, begins[tp])
    records: dict[Partition, list[Record]] = defaultdict(list)
    while left:
        try:
            got = await consumer.getmany(*left, timeout_ms=SILENT_MS, max_records=AT_ONCE)
        except CorruptRecordException as error:
            raise LogDamaged(str(error)) from error
        for tp, raw in got.items():
            records[tp.topic, tp.partition] += [record_of(r) for r in raw if r.offset < ends[tp]]
        reached = {tp for tp in left if await consumer.position(tp) >= ends[tp]}
        if not got and not reached:
            raise BusAway("nothing comes although something is there")
        left -= reached
    return Copy(records, {(tp.topic, tp.partition): end for tp, end in ends.items()})


@dataclass
class Copy:
    """`messaging.bus.Reader` on what was copied."""

    records: Mapping[Partition, Sequence[Record]]
    offsets: Mapping[Partition, int]

    async def partitions(self, topic: str) -> list[int]:
        return sorted(number for name, number in self.offsets if name == topic)

    async def at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at an offset, or the first behind it."""
        if offset >= self.offsets.get((topic, partition), 0):
            return None
        found = self.records.get((topic, partition), ())
        return next((record for record in found if record.offset >= offset), None)

    async def exactly(self, places: Mapping[Partition, int]) -> dict[Partition, Record]:
        """The records at these offsets; what is not there is left out."""
        found = {name: await self.at(*name, offset) for name, offset in places.items()}
        return {
            name: record
            for name, record in found.items()
            if record is not None and record.offset == places[name]
        }

    async def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        return {name: end for name, end in self.offsets.items() if name[0] in topics}

    async def read(
        self, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        for name, end in sorted(ends.items()):
            found = [
                record
                for record in self.records.get(name, ())
                if starts.get(name, 0) <= record.offset < end
            ]
            if found:
                yield found
