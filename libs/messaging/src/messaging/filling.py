"""Filling a shadow: by the rules of the live way, from the log, no further than the live places.

An event that the live side has passed was either settled (then it has its effect in the shadow, in
the order of ``previous``) or set aside (then it is held: as soon as it is not set aside any more
the live model has had its effect, and the shadow gets it before anything that came after it, but
behind its own previous, which may lie in a partition that is still to be read here).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import sqlalchemy as sa

from messaging import aside
from messaging.envelope import Item, Marker, Received, Record, decode
from messaging.outcome import Partition, Place, place_of, row_of
from messaging.reactions import Projection, ProjectionTransaction
from messaging.shadow_tables import Shadow
from messaging.tables import inbox, place, set_aside
from runtime.named import among, those_of
from runtime.store import Store, insert_ignore, upsert

SLICE = {"sqlite": 256, "postgresql": 1_024}
"""Items that are worked on at once, by engine: SQLite's writers wait for them, some 10 ms. Whole
statements of rows (`runtime.rows.AT_ONCE`), and a whole number of them in what is read at once."""

SLICE_SECONDS = 0.02
"""How long a transaction may keep others from the store that want it."""

Write = Callable[[Callable[[sa.Connection], None]], Callable[[sa.Connection], None]]


class Log(Protocol):
    """What a rebuild reads from: all records of some topics between places."""

    async def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        """The offset after the last record of every partition."""
        ...

    def read(
        self, starts: dict[Partition, int], ends: dict[Partition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        """Batches of records from `starts` (inclusive) up to `ends` (exclusive)."""
        ...


class Filler:
    """Fills a shadow from batches of records: ids once, ``previous`` first."""

    def __init__(self, shadow: Shadow) -> None:
        self.shadow = shadow
        self.reached: dict[Partition, Place] = {}
        self.first: dict[Partition, Place] = {}
        """Of each partition a record that was seen in its log before what led to `reached`: where
        that one still is, all of it was read from the log that is there, for one that is gone never
        comes back."""
        self._kept: dict[Partition, Place] = {}
        self._waiting: dict[str, dict[str, Item]] = {}
        self._filled_from = {
            event: [p for p in shadow.of if event in p.events]
            for p in shadow.of
            for event in p.events
        }

    def leave(self, read_models: Collection[Projection]) -> None:
        """Fill these no more: another process does."""
        for filled in self._filled_from.values():
            filled[:] = [p for p in filled if p not in read_models]

    def open(self, connection: sa.Connection) -> None:
        """Go on from where the last rebuild was, if there was one."""
        self._waiting.clear()
        self.reached = self.shadow.places(connection)
        self._kept = self.shadow.first_places(connection)
        self.first = self.reached | self._kept

    def is_there(self) -> None:
        """The first records were found where they were seen, so what was reached is there too."""
        self.first |= self.reached

    def note(self, items: Sequence[Item]) -> None:
        """These were read."""
        for item in items:
            if (name := (item.record.topic, item.record.partition)) not in self.first:
                self.first[name] = place_of(item)

    def begin_again(self, connection: sa.Connection, name: Partition) -> None:
        """This partition is another log now: from its beginning; ids drop what was seen."""
        for places in (self.reached, self.first, self._kept):
            places.pop(name, None)
        connection.execute(
            sa.delete(place).where(
                place.c.side.in_([self.shadow.name, self.shadow.side_of_first]),
                place.c.topic == name[0],
                place.c.partition == name[1],
            )
        )

    def fill(self, connection: sa.Connection, items: Sequence[Item]) -> None:
        """One slice, with the places that it reached, in the caller's transaction."""
        if not items:
            return
        self.note(items)
        p = ProjectionTransaction(connection, self.shadow.tables)
        named = [(item, item.id, item.previous) for item in items]
        ids = {name for _, name, _ in named}
        asked = sorted(ids.union(previous for _, _, previous in named if previous))
        seen = recorded(connection, self.shadow.seen.c.event_id, asked)
        unseen = [name for name in asked if name not in seen and name not in ids]
        apart = recorded(connection, set_aside.c.event_id, sorted(ids))
        # What follows is asked after `apart`: whoever is not in it was settled behind its previous,
        # which is known by now, and comes behind one that is held here as well. One that the live
        # side does not know either never came; nobody waits for it here.
        awaited = recorded(connection, inbox.c.event_id, unseen) | ids
        behind = self._let_go(connection, p)
        fresh: list[str] = []
        for item, name, previous in named:
            if name in seen or isinstance(item.content, Marker):
                continue
            if previous and previous not in seen and previous in awaited:
                self._waiting.setdefault(previous, {})[name] = item
                continue
            ready = [(item, name, previous)]
            while ready:
                one, name, previous = ready.pop()
                if name in seen:
                    continue
                if name in apart or previous in behind:
                    self._hold(connection, one)
                    behind |= {name} - apart
                else:
                    self._apply(p, one)
                seen.add(name)
                fresh.append(name)
                if name in self._waiting:
                    waited = self._waiting.pop(name).values()
                    ready += [(after, after.id, after.previous) for after in waited]
        p.flush()
        if fresh:
            insert_ignore(connection, self.shadow.seen, [{"event_id": name} for name in fresh])
        last = {(item.record.topic, item.record.partition): item for item in items}
        for partition, item in last.items():
            self.reached[partition] = place_of(item)
        if not self._waiting:
            self._move(connection)

    def finish(self, connection: sa.Connection) -> None:
        """At the end of the log nothing more comes: what still waits is applied in its order, and
        so is what was held and is not set aside any more."""
        p = ProjectionTransaction(connection, self.shadow.tables)
        left = [item for items in self._waiting.values() for item in items.values()]
        self._waiting.clear()
        held = [aside.item_of(row) for row in connection.execute(sa.select(self.shadow.held))]
        ids = sorted(item.id for item in [*left, *held])
        if connection.dialect.name == "postgresql":
            # Whoever is trying one of them now is waited for.
            connection.execute(
                sa.select(set_aside.c.event_id)
                .where(among("postgresql", set_aside.c.event_id))
                .order_by(set_aside.c.event_id)
                .with_for_update(),
                {"wanted": ids},
            )
        apart = recorded(connection, set_aside.c.event_id, ids)
        late = {item.id: item for item in [*left, *held] if item.id not in apart}
        for item in _chained(late):
            self._apply(p, item)
        p.flush()

    def _hold(self, connection: sa.Connection, item: Item) -> None:
        aside.put(
            connection,
            item,
            "held",
            "",
            tries=0,
            next_try=None,
            at=datetime.fromtimestamp(item.record.stamp / 1000, UTC),
            table=self.shadow.held,
        )

    def _let_go(self, connection: sa.Connection, p: ProjectionTransaction) -> set[str]:
        """Apply what was held and is not set aside any more; the ids of those that still cannot be,
        because what came before them was settled and is still to be read here."""
        held, seen = self.shadow.held, self.shadow.seen.c.event_id
        apart = sa.exists().where(set_aside.c.event_id == held.c.event_id)
        free = {
            row.event_id: row.previous
            for row in connection.execute(sa.select(held.c.event_id, held.c.previous).where(~apart))
        }
        if not free:
            return set()
        before = {previous for previous in free.values() if previous} - free.keys()
        before -= recorded(connection, seen, sorted(before))
        behind = _following(recorded(connection, inbox.c.event_id, sorted(before)), free)
        ready = {"wanted": sorted(free.keys() - behind)}
        of_ready = among(connection.dialect.name, held.c.event_id)
        rows = connection.execute(sa.select(held).where(of_ready), ready)
        for item in _chained({row.event_id: aside.item_of(row) for row in rows}):
            self._apply(p, item)
        connection.execute(sa.delete(held).where(of_ready), ready)
        return behind

    def _apply(self, p: ProjectionTransaction, item: Item) -> None:
        if isinstance(item.content, Received):
            for read_model in self._filled_from.get(type(item.content.event), ()):
                p.apply(read_model, item.content)

    def _move(self, connection: sa.Connection) -> None:
        """Places move only while nothing waits in memory: a killed rebuild loses nothing."""
        new = self.first.items() - self._kept.items()
        rows = [row_of(self.shadow.name, name, at) for name, at in self.reached.items()]
        rows += [row_of(self.shadow.side_of_first, name, at) for name, at in new]
        upsert(connection, place, rows, key=("side", "topic", "partition"))
        self._kept = dict(self.first)


def _chained(items: Mapping[str, Item]) -> Iterable[Item]:
    """In the order of the log, but each behind its previous."""
    done: set[str] = set()
    for item in sorted(items.values(), key=lambda i: (i.record.stamp, i.record.offset)):
        chain = [item]
        while (before := items.get(chain[-1].previous or "")) is not None and before not in chain:
            chain.append(before)
        for one in reversed(chain):
            if one.id not in done:
                done.add(one.id)
                yield one


def _following(ids: Iterable[str], previous: Mapping[str, str | None]) -> set[str]:
    """All that come after these, directly or not."""
    after: dict[str, list[str]] = {}
    for name, before in previous.items():
        if before:
            after.setdefault(before, []).append(name)
    found: set[str] = set()
    ahead = list(ids)
    while ahead:
        new = [name for name in after.get(ahead.pop(), []) if name not in found]
        found.update(new)
        ahead += new
    return found


def recorded(connection: sa.Connection, column: sa.Column[str], values: Sequence[str]) -> set[str]:
    """Which of the values a column holds."""
    return set(those_of(connection, column, values)) if values else set()


async def read_items(
    source: Log, starts: dict[Partition, int], ends: dict[Partition, int]
) -> AsyncGenerator[list[Item]]:
    """Records between places, decoded beside the event loop; the next are fetched while whoever
    asked works on the last. Close it (``aclosing``): nothing may be fetched any more by then."""
    batches = _decoding(source.read(starts, ends))
    coming = asyncio.ensure_future(anext(batches, None))
    try:
        while (items := await coming) is not None:
            coming = asyncio.ensure_future(anext(batches, None))
            yield items
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await batches.aclose()


async def _decoding(records: AsyncIterator[Sequence[Record]]) -> AsyncGenerator[list[Item]]:
    async for batch in records:
        yield await asyncio.to_thread(_decoded, batch)


def _decoded(records: Sequence[Record]) -> list[Item]:
    return [decode(record) for record in records]


async def fill(
    store: Store,
    filler: Filler,
    source: Log,
    ends: dict[Partition, int],
    *,
    write: Write,
    progress: Callable[[int], None],
) -> None:
    """Read from where the shadow stands up to `ends`. `write` wraps what is done in each
    transaction."""
    starts = {name: at.offset + 1 for name, at in filler.reached.items()}
    async with aclosing(read_items(source, starts, ends)) as batches:
        async for items in batches:
            await fill_with(store, filler, items, write=write)
            progress(len(items))


async def fill_with(store: Store, filler: Filler, items: Sequence[Item], *, write: Write) -> None:
    """Fill with items in transactions that let others write between."""
    await in_turns(store, items, lambda part: write(lambda c: filler.fill(c, part)))


async def in_turns(
    store: Store,
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], Callable[[sa.Connection], None]],
) -> None:
    """`work` on all items, slice by slice, in transactions that end when others want the store and
    have waited long enough. While nobody does they are as large as may be: what a thousand events
    change lies on fewer pages than twice what five hundred do."""
    size = SLICE[store.dialect]

    def some(connection: sa.Connection, at: int) -> int:
        begun = time.monotonic()
        while at < len(items):
            work(items[at : at + size])(connection)
            at += size
            if store.waiting and time.monotonic() - begun > SLICE_SECONDS:
                break
        return at

    at = 0
    while at < len(items):
        at = await store.write(partial(some, at=at))
