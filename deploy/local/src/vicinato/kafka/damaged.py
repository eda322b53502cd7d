"""Topics of our own Kafka that a disk has damaged: they go, to be made anew and filled again.

Kafka looks through what it wrote last when it starts, and cuts a log where it is damaged. While it
runs it looks at nothing and gives out what the disk gives; no reader gets past a record whose sum
is another, for ever, and behind a damaged length Kafka itself finds nothing, not even what it
writes there later. Nothing is lost with such a topic: whoever wrote it has all of it in the outbox,
misses its last record, and sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from confluent_kafka.admin import AdminClient

from messaging.bus import Bus, LogDamaged, Silent

TIMES = 2
"""How often it must be seen, each time by a new client."""

Name = tuple[str, int]
"""Topic and partition."""


def delete_damaged(bus: Bus, admin: AdminClient, topics: Iterable[str]) -> list[Name]:
    """Reads all of `topics` and deletes those that are damaged, for whoever provisions to make them
    anew; which partitions were. (To delete the records is not enough: the file stays.)

    Raises BusAway, TimeoutError, KafkaException.
    """
    found = asyncio.run(_damaged(bus, list(topics)))
    gone = sorted({topic for topic, _ in found})
    for future in (admin.delete_topics(gone, operation_timeout=20) if gone else {}).values():
        future.result(30)
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
                    except (LogDamaged, Silent):
                        counted[name] += 1
                        break  # a client that met it gives the same again
                    counted[name] = -1
    return [name for name, times in counted.items() if times == TIMES]
