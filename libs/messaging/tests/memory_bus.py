"""A log in memory behind the interface of `messaging.bus`, with everything that can happen to one.

It can be cut, wiped, given partitions, lose its first records, and have a topic made anew. Every
await on it, and every write of the relay, passes a fuse that may blow: before the thing was done,
or after it and before anybody was told. It ends the process, or shortens the log under it.
Timestamps are the log's own and never come twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from messaging.bus import BusAway, LogDamaged
from messaging.envelope import Record
from messaging.relay_lock import RelayLock

T = TypeVar("T")

MOST_IN_A_BATCH = 2
READ_AT_ONCE = 3
"""Small, so that one look at a log takes several steps between which a crash can fall."""


class Crash(Exception):  # noqa: N818 - it names what happened
    """The process is gone at this point: whatever it had in memory is lost."""


def gone() -> None:
    """What a fuse does that nothing else was told."""
    raise Crash


class Fuse:
    """Blows at the n-th point that is passed, by a crash or as it is told; else never."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.passed = 0
        self._blow = gone
        self._beside: Callable[[], Awaitable[None]] | None = None

    def set(self, points: int | None, blow: Callable[[], None] = gone) -> None:
        self.left = points
        self.passed = 0
        self._blow = blow
        self._beside = None

    def let(self, beside: Callable[[], Awaitable[None]]) -> None:
        """Something that goes on beside the step at the next point where that can be."""
        self._beside = beside

    async def stop_by(self) -> None:
        """A point at which something else may go on."""
        self.pass_by()
        beside, self._beside = self._beside, None
        if beside is not None:
            await beside()

    def pass_by(self) -> None:
        self.passed += 1
        if self.left is None:
            return
        if self.left == 0:
            self.left = None
            self._blow()
        else:
            self.left -= 1


@dataclass(frozen=True)
class Answer:
    """What a producer is told."""

    offset: int
    timestamp: int
    timestamp_type: int = 1


class MemoryLog:
    """A cluster with its topics. One partition is a list of records."""

    def __init__(self, fuse: Fuse, partitions: dict[str, int]) -> None:
        self.fuse = fuse
        self.stamp = 0
        self.topics: dict[str, list[list[Record]]] = {}
        self.begins: dict[tuple[str, int], int] = {}
        self.lost: set[tuple[str, int, int]] = set()
        self.damaged: set[tuple[str, int]] = set()
        """Partitions of which nobody who reads on gets what is there."""
        for topic, count in partitions.items():
            self.remake(topic, count)

    # what happens to it

    def remake(self, topic: str, partitions: int) -> None:
        self.topics[topic] = [[] for _ in range(partitions)]
        self.begins = {name: at for name, at in self.begins.items() if name[0] != topic}
        self.lost = {one for one in self.lost if one[0] != topic}

    def add_partition(self, topic: str) -> None:
        self.topics[topic].append([])

    def cut(self, topic: str, partition: int, at: int) -> None:
        del self.topics[topic][partition][at:]
        self.behead(topic, partition, 0)

    def behead(self, topic: str, partition: int, first: int) -> None:
        """Records before this offset are deleted; those that are there keep theirs."""
        name = topic, partition
        self.begins[name] = min(max(self.begin(*name), first), len(self.topics[topic][partition]))

    def lose(self, topic: str, partition: int, offset: int) -> None:
        """A record is not there any more; all others keep their offsets."""
        self.lost.add((topic, partition, offset))

    def shorten(self, keep: int) -> None:
        """Every log is cut to so many records; 0: wiped."""
        for topic, logs in self.topics.items():
            for number in range(len(logs)):
                self.cut(topic, number, keep)

    # what is in it

    def begin(self, topic: str, partition: int) -> int:
        """The first offset that is there."""
        return self.begins.get((topic, partition), 0)

    def there(self, topic: str, partition: int, start: int, end: int) -> list[Record]:
        """Records from `start` or the first that is there, up to `end`."""
        records = self.topics[topic][partition][max(start, self.begin(topic, partition)) : end]
        return [one for one in records if (topic, partition, one.offset) not in self.lost]

    def names(self, topic: str) -> list[tuple[str, int]]:
        return [(topic, number) for number in range(len(self.topics[topic]))]

    def append(
        self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Any
    ) -> Answer:
        self.stamp += 1
        log = self.topics[topic][partition]
        log.append(Record(topic, partition, len(log), self.stamp, key, value, headers))
        return Answer(len(log) - 1, self.stamp)

    def ids(self, topic: str) -> set[str]:
        return {
            value.decode()
            for _, number in self.names(topic)
            for record in self.there(topic, number, 0, len(self.topics[topic][number]))
            for name, value in record.headers
            if name == "ce_id"
        }


class MemoryBus:
    """`messaging.bus.Bus` on a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    def producer(self) -> MemoryProducer:
        return MemoryProducer(self.log)

    async def cluster(self) -> str:
        self.log.fuse.pass_by()
        return "memory"

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[MemoryReader]:
        self.log.fuse.pass_by()
        yield MemoryReader(self.log)


class MemoryProducer:
    """Acknowledges at once; a blown fuse behind the append is a lost acknowledgement."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def start(self) -> None:
        self._log.fuse.pass_by()

    async def stop(self) -> None:
        """Nothing to let go of."""

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(len(self._log.topics[topic])))

    def create_batch(self) -> MemoryBatch:
        return MemoryBatch()

    async def send_batch(
        self, batch: MemoryBatch, topic: str, *, partition: int
    ) -> asyncio.Future[Answer]:
        self._log.fuse.pass_by()
        if partition >= len(self._log.topics[topic]):
            raise BusAway(f"{topic}/{partition}")
        answers = [
            self._log.append(topic, partition, key, value, headers)
            for key, value, headers in batch.records
        ]
        self._log.fuse.pass_by()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        future.set_result(answers[0])
        return future

    async def send_and_wait(
        self, topic: str, *, value: Any, key: bytes, partition: int, headers: Any, **_: Any
    ) -> Answer:
        batch = self.create_batch()
        batch.append(timestamp=0, key=key, value=value, headers=headers)
        return await (await self.send_batch(batch, topic, partition=partition))


class MemoryBatch:
    """Small, so that a fuse may blow between two of them."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, Any, Any]] = []

    def append(self, *, timestamp: int, key: bytes, value: Any, headers: Any) -> object | None:
        if len(self.records) == MOST_IN_A_BATCH:
            return None
        self.records.append((key, value, headers))
        return self.records[-1]


class MemoryReader:
    """`messaging.bus.Reader` on a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def partitions(self, topic: str) -> list[int]:
        self._log.fuse.pass_by()
        return list(range(len(self._log.topics[topic])))

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        self._log.fuse.pass_by()
        return self._log.begin(topic, partition), len(self._log.topics[topic][partition])

    async def all_bounds(
        self, names: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[int, int]]:
        return {name: await self.bounds(*name) for name in names}

    async def exactly(self, places: dict[tuple[str, int], int]) -> dict[tuple[str, int], Record]:
        found = {name: await self.at(*name, offset) for name, offset in places.items()}
        return {name: record for name, record in found.items() if record is not None}

    async def at(self, topic: str, partition: int, offset: int) -> Record | None:
        self._log.fuse.pass_by()
        found = self._log.there(topic, partition, offset, offset + 1)
        return found[0] if found else None

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        return {
            (topic, number): len(log)
            for topic in topics
            for number, log in enumerate(self._log.topics[topic])
        }

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        for (topic, number), end in sorted(ends.items()):
            at = max(starts.get((topic, number), 0), self._log.begin(topic, number))
            until = min(end, len(self._log.topics[topic][number]))
            while at < until:
                await self._log.fuse.stop_by()
                records = self._log.there(topic, number, at, min(until, at + READ_AT_ONCE))
                if len(self._log.topics[topic][number]) <= at:
                    raise BusAway(f"{topic}/{number} is another log now")
                if (topic, number) in self._log.damaged:
                    raise LogDamaged(f"{topic}/{number}")
                if records:
                    yield records
                at = max(min(until, at + READ_AT_ONCE), self._log.begin(topic, number))


class FusedLock:
    """The relay's lock, whose writes pass the fuse before they begin and after they are kept."""

    def __init__(self, lock: RelayLock, fuse: Fuse) -> None:
        self._lock = lock
        self._fuse = fuse

    @property
    def waiting(self) -> bool:
        return self._lock.waiting

    async def acquire(self) -> None:
        await self._lock.acquire()

    async def release(self) -> None:
        await self._lock.release()

    async def keep(self) -> None:
        await self._lock.keep()

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        await self._fuse.stop_by()
        answer = await self._lock.write(work)
        self._fuse.pass_by()
        return answer
