"""Own topics against their logs: is it still the log that the outbox was written to?

The relay is the only writer of its topics, so the record at its last place must be the one that it
sent: same id *and* same timestamp. If it is missing or another, the log was cut, wiped or made
anew: all rows of that partition count as unsent but for those that are found in the log, and a
higher era tells every reader to begin anew. What lies behind the place is absorbed: known rows are
marked, unknown ones adopted.

A crash at any point is made good by the next reconcile: a partition whose era is not announced yet
has its place before the beginning, with the era that it owes. So is a log that is made anew while
this one looks: no place moves, and no era is announced for good, before the first record that was
seen there has been seen once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from aiokafka import AIOKafkaProducer

from contracts import COMPACTED
from messaging import marks
from messaging.adoption import Adoption
from messaging.bus import Reader
from messaging.envelope import ERA_BEGUN, Record, decode
from messaging.outcome import BEGINNING, Partition, Place, is_at
from messaging.relay_lock import RelayLock
from runtime.ids import Ids
from runtime.logging import get_logger

log = get_logger()

MARKER_KEY = b"era"
"""Compacted topics refuse records without a key."""

SEND_TIMEOUT = 30.0

UNKNOWN = Place(BEGINNING, "", 0, era=1)
"""Of a partition that had no place, while its rows are marked: should that not come to its end,
they may be marked in a log that is gone, and an era is owed."""


class LogCut(Exception):  # noqa: N818 - it names what happened
    """This is another log than the one that was known a moment ago."""


class Reconcile:
    """One look at all own topics. `places` are those of the outbox, and are brought forward."""

    def __init__(
        self,
        lock: RelayLock,
        reader: Reader,
        producer: AIOKafkaProducer,
        places: dict[Partition, Place],
        adoption: Adoption,
        ids: Ids,
    ) -> None:
        self._lock = lock
        self._reader = reader
        self._producer = producer
        self._places = places
        self._adoption = adoption
        self._ids = ids
        self.bounds: dict[Partition, tuple[int, int]] = {}
        """The first offset that is there and the one after the last, of each partition, as they
        were before anything was sent."""
        self._first: dict[Partition, Place] = {}
        self._reached: dict[Partition, Place] = {}
        self._owing: dict[Partition, int] = {}

    async def run(self, topics: tuple[str, ...]) -> None:
        """Look at all partitions; then the places may move and new eras are announced."""
        names = [(t, n) for t in topics for n in await self._reader.partitions(t)]
        for name, place in list(self._places.items()):
            if name[0] in topics and name not in names and place.offset != BEGINNING:
                await self._take_back(name, Place(BEGINNING, "", 0, place.era + 1))
        # Asked together: the relay sends nothing meanwhile, and one after the other takes a second.
        self.bounds = bounds = await self._reader.all_bounds(names)
        records = await self._reader.exactly(
            {
                name: at.offset
                for name, at in self._places.items()
                if name in bounds and BEGINNING < at.offset < bounds[name][1]
            }
        )
        for name in names:
            await self._look_at(name, *bounds[name], records.get(name))
        if not self._adoption.complete:
            await self._lock.write(self._adoption.finish)
            await self._move()
        for name, era in self._owing.items():
            await self._announce(name, era)

    async def _look_at(self, name: Partition, begin: int, end: int, record: Record | None) -> None:
        place = self._places.get(name)
        start, era = begin, place.era if place else 0
        if place is not None and place.offset != BEGINNING:
            same = _same(name, place, begin, end, record)
            if same is None:
                await self._owe_era(name, Place(BEGINNING, "", 0, era + 1))
            elif same:
                self._first[name] = place
                start = place.offset + 1
        elif place is not None:
            # What was marked before a crash may have been in a log that is gone by now as well.
            await self._owe_era(name, place)
        if start < end:
            if place is None:
                await self._lock.write(partial(marks.move, places={name: UNKNOWN}))
            await self._absorb(name, start, end, era)
            if self._adoption.complete:
                await self._move()

    async def _owe_era(self, name: Partition, owing: Place) -> None:
        """Nothing of this partition counts as sent, and its readers must be told."""
        log.error("relay.another_log", topic=name[0], partition=name[1])
        await self._take_back(name, owing)
        self._owing[name] = owing.era

    async def _take_back(self, name: Partition, owing: Place) -> None:
        """Nothing of this partition counts as sent. One that is not there at all owes its era until
        there is one of that number again: its readers know their places in the log that was."""
        await unsend_all(self._lock, partial(marks.unsend, chosen=marks.in_partition(name)))
        await self._lock.write(partial(marks.move, places={name: owing}))
        self._places[name] = owing

    async def _absorb(self, name: Partition, start: int, end: int, era: int) -> None:
        async for batch in self._reader.read({name: start}, {name: end}):
            items = await asyncio.to_thread(lambda batch=batch: [decode(r) for r in batch])  # type: ignore[misc]
            era = max(era, *(item.era for item in items))
            first, last = (
                Place(item.record.offset, item.id[:64], item.record.stamp, era)
                for item in (items[0], items[-1])
            )
            self._first.setdefault(name, first)
            await self._lock.write(partial(self._adoption.absorb, items=items))
            self._reached[name] = last
            if name in self._owing:
                self._owing[name] = max(self._owing[name], era + 1)

    async def _move(self) -> None:
        """Places go behind what was absorbed, except where an era is owed.

        Raises:
            LogCut: what was seen first is not there any more. The marks of what was absorbed since
                are taken back when the place, which stays, is looked at again.
        """
        places = {n: at for n, at in self._reached.items() if n not in self._owing}
        if not places:
            return
        await self._see_again(*places)
        await self._lock.write(partial(marks.move, places=places))
        self._places.update(places)
        for name in places:
            del self._reached[name]

    async def _see_again(self, *names: Partition, answered: int | None = None) -> None:
        """Whether all that was absorbed lies in one log, which is there. A log never comes back, so
        it is enough that the first record that was seen in it is still there afterwards, and that
        what was `answered` since is an offset behind the last.

        Raises:
            LogCut: it is not.
        """
        first = {name: self._first[name] for name in names}
        records = await self._reader.exactly({name: at.offset for name, at in first.items()})
        for name, at in first.items():
            record = records.get(name)
            cut = answered is not None and answered <= self._reached[name].offset
            if cut or record is None or not is_at(decode(record), at):
                raise LogCut(f"{name[0]}/{name[1]}: another log than a moment ago")

    async def _announce(self, name: Partition, era: int) -> None:
        """A record without meaning that carries the new era; then it is owed no more.

        Raises:
            LogCut: it came into another log than the one that was looked through, which was made
                anew meanwhile (the client goes on trying for as long as the broker is away). What
                was found there and marked is not in this one: the era stays owed, and the next
                reconcile takes all marks back.
        """
        event_id = self._ids.new()
        stamp = int(time.time() * 1000)
        async with asyncio.timeout(SEND_TIMEOUT):
            answer = await self._producer.send_and_wait(
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
        if name in self._reached:
            await self._see_again(name, answered=answer.offset)
        at = Place(answer.offset, event_id, stamp_of(answer, stamp), era)
        await self._lock.write(partial(marks.move, places={name: at}))
        self._places[name] = at
        log.error("relay.era_begun", topic=name[0], partition=name[1], era=era)


def _same(
    name: Partition, place: Place, begin: int, end: int, record: Record | None
) -> bool | None:
    """Whether the place's `record` is there; None: this is another log. False when compaction took
    it, so that it cannot be said: then the whole partition is looked through."""
    if end <= place.offset:
        return None
    if record is None:
        return False if name[0] in COMPACTED and place.offset >= begin else None
    return is_at(decode(record), place) or None


def stamp_of(answer: object, sent: int) -> int:
    """The timestamp that the record has in the log: ours, or the broker's where the topic has it
    so (``message.timestamp.type``)."""
    if getattr(answer, "timestamp_type", 0) == 1:
        return int(getattr(answer, "timestamp", sent))
    return sent


async def unsend_all(lock: RelayLock, unsend: Callable[..., tuple[int, int]]) -> int:
    """All rows that `unsend` chooses, slice by slice; how many."""
    after, count = 0, 0
    while True:
        after, more = await lock.write(lambda c, after=after: unsend(c, after=after))  # type: ignore[misc]
        if not after:
            return count
        count += more
