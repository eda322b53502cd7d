"""The whole log against the outbox: once a week, and on demand (DESIGN §3.7).

The look at the last place says that it is the same log, not that nothing is missing in its middle:
a producer that shared its id with another had sends acknowledged that are not in the log (seen).
Runs beside the sending, in memory of a bit for each row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from contracts import COMPACTED
from messaging import marks
from messaging.adoption import Adoption
from messaging.bus import Reader
from messaging.envelope import decode
from messaging.outcome import Partition
from messaging.reconcile import LogCut, unsend_all
from messaging.relay_lock import RelayLock
from messaging.tables import outbox, outbox_sent
from runtime.logging import get_logger
from runtime.store import Store

log = get_logger()

READ_AT_ONCE = 20_000


async def compare(
    store: Store, lock: RelayLock, reader: Reader, topics: tuple[str, ...], adoption: Adoption
) -> int:
    """What does not lie in the log where it counts as sent is sent again: a copy of it elsewhere,
    as a mirror makes them, is not in its place among the others of its key. What is in the log and
    not in the outbox is adopted. How many rows are sent again.

    Raises:
        LogCut: a partition is found to be another log meanwhile. What was read before that is not
            adopted any more: nobody would take its mark back.
    """
    count = 0
    begun = await store.read(_eras)

    def if_same(connection: sa.Connection, work: Callable[[sa.Connection], None]) -> None:
        now = _eras(connection)
        for name, era in begun.items():
            if now.get(name) != era:
                raise LogCut(f"{name[0]}/{name[1]}: not era {era} any more")
        work(connection)

    for topic in topics:
        missing = await _sent_rows(store, topic)
        ends = await reader.ends([topic])
        async for batch in reader.read({}, ends):
            items = await asyncio.to_thread(lambda batch=batch: [decode(r) for r in batch])  # type: ignore[misc]
            known = await store.read(partial(marks.sent_as, ids=[i.id for i in items]))
            for item in items:
                row, *at = known.get(item.id, (0, None, None))
                if at == [item.record.partition, item.record.offset]:
                    missing.discard(row)
            unknown = [i for i in items if i.id not in known]
            if unknown and topic not in COMPACTED:
                absorb = partial(adoption.absorb, items=unknown)
                await lock.write(partial(if_same, work=absorb))
        after = 0
        while rows := missing.behind(after, 1_000):
            for row in await store.read(partial(marks.sent_behind, rows=rows, ends=ends)):
                missing.discard(row)  # it was sent once more meanwhile
            after = rows[-1]
        lost = len(missing)
        if lost:
            log.error("relay.missing_in_log", topic=topic, count=lost)
            count += await unsend_all(lock, partial(_unsend, missing=missing))
    if not adoption.complete:
        await lock.write(partial(if_same, work=adoption.finish))
    return count


def _eras(connection: sa.Connection) -> dict[Partition, int]:
    return {name: at.era for name, at in marks.out_places(connection).items()}


async def _sent_rows(store: Store, topic: str) -> Rows:
    """Rows that must be in the log: all that count as sent; of a compacted topic the last of each
    key, unless it is a tombstone, which compaction takes in the end."""
    found = Rows()
    if topic in COMPACTED:
        for row in await store.read(partial(_last_of_each_key, topic=topic)):
            found.add(row)
        return found
    after = 0
    told = partial(marks.sent_after, chosen=marks.of_topic(topic), most=READ_AT_ONCE)
    while rows := await store.read(partial(told, after=after)):
        for row in rows:
            found.add(row)
        after = rows[-1]
    return found


def _last_of_each_key(connection: sa.Connection, topic: str) -> list[int]:
    last = (
        sa.select(sa.func.max(outbox.c.row))
        .where(outbox.c.topic == topic)
        .group_by(outbox.c.key)
        .scalar_subquery()
    )
    return list(
        connection.scalars(
            sa.select(outbox.c.row).where(
                outbox.c.row.in_(last),
                outbox.c.body.is_not(None),
                outbox.c.row.in_(sa.select(outbox_sent.c.row)),
            )
        )
    )


def _unsend(connection: sa.Connection, after: int, missing: Rows) -> tuple[int, int]:
    rows = missing.behind(after, 1_000)
    if not rows:
        return 0, 0
    marks.forget(connection, rows)
    return rows[-1], len(rows)


class Rows:
    """A set of row numbers, in a bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int) -> None:
        at, bit = divmod(row, 8)
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1 - len(self._bits) + 4096))
        self._bits[at] |= 1 << bit

    def discard(self, row: int) -> None:
        at, bit = divmod(row, 8)
        if at < len(self._bits):
            self._bits[at] &= ~(1 << bit)

    def behind(self, row: int, limit: int) -> list[int]:
        """The first few rows above `row`."""
        found: list[int] = []
        at = (row + 1) // 8
        while at < len(self._bits) and len(found) < limit:
            if self._bits[at]:
                found += [
                    at * 8 + bit
                    for bit in range(8)
                    if self._bits[at] >> bit & 1 and at * 8 + bit > row
                ]
            at += 1
        return found[:limit]

    def __len__(self) -> int:
        return sum(byte.bit_count() for byte in self._bits)
