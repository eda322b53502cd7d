"""Partitions of our own Kafka that a disk has damaged: they are emptied, and filled again.

Kafka looks at a log when it was not stopped in order, and cuts it where it is damaged. After an end
in order it looks at nothing and gives out what the disk gives; no reader gets past a record whose
sum is another, for ever. Nothing is lost with such a log: whoever wrote it has all of it in the
outbox, misses its last record, and sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from messaging.bus import Bus, LogDamaged

TIMES = 2
"""How often it must be seen, each time by a new client."""

Name = tuple[str, int]
"""Topic and partition."""


def empty_damaged(bus: Bus, admin: AdminClient, topics: Iterable[str]) -> list[Name]:
    """Reads all of `topics` and deletes the records of each partition that is damaged; which. Of a
    compacted topic Kafka deletes none: it goes as a whole, for whoever provisions to make it anew.

    Raises BusAway, TimeoutError, KafkaException.
    """
    found = asyncio.run(_damaged(bus, list(topics)))
    wanted = [TopicPartition(topic, number, OFFSET_END) for topic, number in found]
    compacted: set[str] = set()
    for one, future in (admin.delete_records(wanted) if wanted else {}).items():
        try:
            future.result(20)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.POLICY_VIOLATION:
                raise
            compacted.add(one.topic)
    for future in (admin.delete_topics(sorted(compacted)) if compacted else {}).values():
        future.result(20)
    return found


async def _damaged(bus: Bus, topics: list[str]) -> list[Name]:
    async with bus.reader() as reader:
        ends = await reader.ends(topics)
    counted = dict.fromkeys(ends, 0)
    for _ in range(TIMES):
        left = [name for name in ends if counted[name] >= 0]
        while left:
            async with bus.reader() as reader:
                while left:
                    name = left.pop()
                    try:
                        async for _records in reader.read({}, {name: ends[name]}):
                            pass
                    except LogDamaged:
                        counted[name] += 1
                        break  # a client that met it gives the same again
                    counted[name] = -1
    return [name for name, times in counted.items() if times == TIMES]
