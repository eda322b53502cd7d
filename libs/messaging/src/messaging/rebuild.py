"""Rebuilding projections while the service runs (DESIGN §3.6), several from one reading of the log.

The shadow is filled up to the live places while the old model answers and others settle, here and
in other replicas. When it stands near them, the rest of the log is read into memory, and one
transaction locks the live places, applies what they have passed, and swaps the tables. Nothing
pauses but for that transaction; what the old tables held goes after it, piece by piece. A log that
is made anew meanwhile is seen before the swap: what was seen of it first is looked for again behind
each reading, and a log that is gone never comes back. The live side may be behind the log as long
as it likes, but for what fits into memory. Killed at any point it goes on at the next start: where
the shadow stands is in the store, and the projections count as building until the swap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from contracts import COMPACTED
from messaging.envelope import Item
from messaging.filling import (
    Filler,
    Log,
    fill,
    fill_with,
    read_items,
    recorded,
)
from messaging.outcome import BEGINNING, Partition, Place, is_at, place_of
from messaging.reactions import Projection
from messaging.service import Service
from messaging.shadow_tables import Shadow, keep_vacuum_away, swap
from messaging.tables import inbox, meta, place, projection, write_meta
from runtime.logging import get_logger
from runtime.store import Store, insert_ignore

log = get_logger()

GIVE_UP = 5
"""Tries of a rebuild that fails by its own fault; one that waits for bus or store never ends."""

NEAR = 250
"""Records that the live side has passed and that are left for the transaction of the swap, at most:
it holds the store for some 20 ms."""

NEARER = 5
"""How often what the live side has passed since is read and filled in before the transaction of the
swap, which lets the store go meanwhile. Where traffic never pauses some has always come since, and
that transaction reads it itself, the last time."""

MOST = 20_000
"""Records that are read into memory, some 30 MB: what the live side has not passed yet. Some of it
may have been settled before, so the transaction of the swap has to know it."""

MORE_WITHIN = 1.0
"""Seconds that the transaction of the swap waits for the last records; commands on SQLite wait with
it. Where traffic never pauses, some have always come since the rest of the log was read."""

COMES_WITHIN = 120.0
"""Seconds for which a rebuild waits for more of what was settled and is in no log: whoever told it
sends it again to a log that was made anew. Some of it may be gone for good, with a restore."""

WAIT = 0.5


@dataclass
class Progress:
    """How far a rebuild is; records read so far, of about how many."""

    records: int = 0
    total: int = 0
    done: bool = False
    failed: str = ""

    def is_taken_over(self) -> None:
        """Another process does it."""
        self.done, self.failed = True, TakenOver.__name__

    def is_given_up(self, error: Exception) -> None:
        """It cannot be done, by its own fault."""
        self.done, self.failed = True, type(error).__name__


class TakenOver(Exception):  # noqa: N818 - it names what happened
    """Other processes rebuild all of these projections now."""


class Passed(Exception):  # noqa: N818 - it names what happened
    """The live side is behind what was read: where it is."""

    def __init__(self, live: Mapping[Partition, Place]) -> None:
        super().__init__()
        self.live = live


class AnotherLog(Exception):  # noqa: N818 - it names what happened
    """A log was made anew between two looks."""


def declare(connection: sa.Connection, service: Service) -> None:
    """Note every projection of this build: live in a store that heard nothing yet, else to be
    built when its name or version is new. Replicas may start at once."""
    heard = connection.scalar(sa.select(sa.exists().where(inbox.c.event_id.is_not(None))))
    insert_ignore(
        connection,
        projection,
        [
            {"name": p.name, "version": p.version, "state": "building" if heard else "live"}
            for p in service.all_projections
        ],
    )


async def rebuild(
    store: Store, wanted: Mapping[Projection, Progress], source: Log, *, owner: str
) -> None:
    """Build read models anew and swap them in together. Raises when the bus or the store goes away;
    called again for the same it goes on from where it was. One that another process begins to
    rebuild meanwhile is left to it, and is done as far as this process goes.

    Raises:
        TakenOver: other processes have begun to rebuild all of them.
    """
    work = Rebuild(store, wanted, source, owner)
    await store.write(work.begin)
    while not await work.round():  # noqa: ASYNC110 - the live side may be in another process
        await asyncio.sleep(WAIT)


def live_places(
    connection: sa.Connection, topics: Sequence[str], *, lock: bool = False
) -> dict[Partition, Place]:
    """How far the live side is; with `lock` it stays there for the rest of the transaction."""
    query = (
        sa.select(place)
        .where(place.c.side == "in", place.c.topic.in_(topics))
        .order_by(place.c.topic, place.c.partition)
    )
    rows = connection.execute(query.with_for_update() if lock else query)
    return {
        (r.topic, r.partition): Place(r.record_offset, r.event_id, r.stamp, r.era) for r in rows
    }


class Rebuild:
    """The steps of `rebuild`."""

    def __init__(
        self, store: Store, wanted: Mapping[Projection, Progress], source: Log, owner: str
    ) -> None:
        self._store = store
        self._source = source
        self._owner = owner
        self._left = {p: wanted[p] for p in sorted(wanted, key=lambda p: p.name)}
        self._shadow = Shadow(wanted)
        self._filler = Filler(self._shadow)
        self._standing: tuple[int, dict[Partition, Place]] = (0, {})
        self._standing_since = 0.0
        self.topics = sorted({e.TOPIC for p in wanted for e in p.events})

    def begin(self, connection: sa.Connection) -> None:
        """Take them over from whoever was at them; where the same were, from where that stands."""
        for read_model in self._left:
            write_meta(connection, _owner_of(read_model), self._owner)
        self._shadow.take_over(connection)
        self._filler.open(connection)

    def count(self, records: int) -> None:
        """So many were read."""
        for progress in self._left.values():
            progress.records += records

    def _expect(self, more: int) -> None:
        """So many are left, as far as it is known."""
        for progress in self._left.values():
            progress.total = progress.records + more

    async def round(self) -> bool:
        """Fill up to the live places, and swap when little is left; whether it was swapped."""
        live = await self._store.read(partial(live_places, topics=self.topics))
        there = await self._source.ends(self.topics)
        await self._look(there)
        ends = {name: at.offset + 1 for name, at in live.items() if name in there}
        self._expect(self._behind(ends))
        await fill(
            self._store, self._filler, self._source, ends, write=self._own, progress=self.count
        )
        unheard = await self._store.read(self._unheard)
        ends = await self._source.ends(self.topics)
        starts = {name: at.offset + 1 for name, at in self._filler.reached.items()}
        behind = self._behind(ends)
        self._expect(behind)
        tail = await self._read(starts, ends) if behind <= MOST else []
        if await self._look(ends) or behind > MOST:
            return False
        if not self._is_complete(len(unheard - {item.id for item in tail})):
            return False
        live = await self._store.read(partial(live_places, topics=self.topics))
        last = self._filler.reached | {name: place_of(item) for name, item in _by_partition(tail)}
        tail = await self._fill_what_is_passed(live, tail)
        try:
            swapped = await self._swap(tail, ends, last)
        except (TimeoutError, AnotherLog, Passed):
            return False
        if swapped:
            for progress in self._left.values():
                progress.done = True
        return swapped

    def _unheard(self, connection: sa.Connection) -> set[str]:
        """Ids that the live side has settled and that were not read here: they come behind what
        was read, or the log was made anew and they are still to be sent again. Of compacted topics
        nobody knows: what they have lost does not come again."""
        seen = self._shadow.seen.c.event_id
        read = sa.exists().where(seen == inbox.c.event_id)
        kept = [topic for topic in self.topics if topic not in COMPACTED]
        query = sa.select(inbox.c.event_id).where(inbox.c.source.in_(kept), ~read)
        return set(connection.scalars(query.limit(MOST)))

    def _is_complete(self, lacking: int) -> bool:
        """Whether all is read that the live side has settled, or what lacks does not come."""
        now = time.monotonic()
        standing = lacking, dict(self._filler.reached)
        if standing != self._standing:
            self._standing, self._standing_since = standing, now
        if not lacking:
            return True
        if now - self._standing_since < COMES_WITHIN:
            return False
        names = [p.name for p in self._left]
        log.warning("projection.rebuilt_without", projection=names, count=lacking)
        return True

    async def _swap(
        self, tail: list[Item], ends: dict[Partition, int], last: dict[Partition, Place]
    ) -> bool:
        """Swap; whether it could be. What the live side has passed since the rest was read is read
        meanwhile, and in the end by the transaction itself."""
        for _ in range(NEARER):
            try:
                return await self._store.write(partial(self._finish, tail=tail, ends=ends))
            except Passed as passed:
                found = await self._passed(passed.live, ends, last)
                last |= {name: place_of(item) for name, item in _by_partition(found)}
                tail = await self._fill_what_is_passed(passed.live, [*tail, *found])
        loop = asyncio.get_running_loop()

        def more(live: Mapping[Partition, Place]) -> list[Item]:
            reading = asyncio.run_coroutine_threadsafe(self._passed(live, ends, last), loop)
            try:
                return reading.result(MORE_WITHIN)
            finally:
                reading.cancel()

        return await self._store.write(partial(self._finish, tail=tail, ends=ends, more=more))

    async def _fill_what_is_passed(
        self, live: Mapping[Partition, Place], items: list[Item]
    ) -> list[Item]:
        """Fill with what the live side has passed; gives the rest."""
        passed = [item for item in items if _has_passed(live, item)]
        await fill_with(self._store, self._filler, passed, write=self._own)
        return [item for item in items if not _has_passed(live, item)]

    async def _look(self, there: Mapping[Partition, int]) -> list[Partition]:
        """Begin again in the logs that are not those that were read from: which these are."""
        another = await self._elsewhere(self._filler.first, there)
        for name in another:
            await self._store.write(self._own(partial(self._filler.begin_again, name=name)))
        self._filler.is_there()
        return another

    def _behind(self, ends: Mapping[Partition, int]) -> int:
        """Records up to these ends that are still to be read."""
        reached = self._filler.reached
        return sum(
            max(0, end - (reached[name].offset + 1 if name in reached else 0))
            for name, end in ends.items()
        )

    async def _read(self, starts: dict[Partition, int], ends: dict[Partition, int]) -> list[Item]:
        async with aclosing(read_items(self._source, starts, ends)) as batches:
            found = [i async for items in batches for i in items]
        self._filler.note(found)
        return found

    async def _passed(
        self,
        live: Mapping[Partition, Place],
        ends: dict[Partition, int],
        last: Mapping[Partition, Place],
    ) -> list[Item]:
        """The records between `ends`, which is moved, and the live places, with what is there
        behind them; read from the `last` one on that was seen, in the same go: the store may wait.

        Raises:
            AnotherLog: that one is not there any more, or the log ends before the live place.
        """
        there = await self._source.ends(self.topics)
        begin = {name: ends.get(name, 0) for name in there}
        for name, at in live.items():
            if name in there and at.offset >= there[name]:
                raise AnotherLog(str(name))
        further = {
            name: there[name]
            for name, at in live.items()
            if name in there and begin[name] <= at.offset
        }
        if not further:
            return []
        ends |= further
        starts = {name: last[name].offset if name in last else begin[name] for name in further}
        found = await self._read(starts, further)
        lies = {_partition(item): item for item in reversed(found)}
        for name, at in last.items():
            if name in further and not _may_be_at(lies.get(name), at, name):
                raise AnotherLog(str(name))
        return [item for item in found if item.record.offset >= begin[_partition(item)]]

    def _own(self, work: Callable[[sa.Connection], None]) -> Callable[[sa.Connection], None]:
        """`work` on those that no other process has taken over."""

        def owned(connection: sa.Connection) -> None:
            self._check_owner(connection)
            work(connection)

        return owned

    def _check_owner(self, connection: sa.Connection) -> None:
        """Leave to others what they have taken over. Whoever wants to take one over waits until the
        end of the transaction."""
        names = [_owner_of(p) for p in self._left]
        query = sa.select(meta.c.name, meta.c.value).where(meta.c.name.in_(names))
        rows = connection.execute(query.order_by(meta.c.name).with_for_update(read=True))
        owners = {row.name: row.value for row in rows}
        gone = [p for p in self._left if owners.get(_owner_of(p)) != self._owner]
        for read_model in gone:
            self._left.pop(read_model).is_taken_over()
        if not self._left:
            raise TakenOver
        if gone:
            self._filler.leave(gone)

    async def _elsewhere(
        self, known: Mapping[Partition, Place], there: Mapping[Partition, int]
    ) -> list[Partition]:
        """Partitions in whose log a record is not where it is known to be, or that are gone."""
        if not known:
            return []
        found = [name for name in known if name not in there]
        asked = {name: at for name, at in known.items() if name in there}
        starts = {name: at.offset for name, at in asked.items()}
        ends = {name: offset + 1 for name, offset in starts.items()}
        lies: dict[Partition, Item] = {}
        async with aclosing(read_items(self._source, starts, ends)) as batches:
            async for items in batches:
                lies |= {n: i for n, i in _by_partition(items) if i.record.offset == starts[n]}
        return found + [n for n, at in asked.items() if not _may_be_at(lies.get(n), at, n)]

    def _finish(
        self,
        connection: sa.Connection,
        tail: list[Item],
        ends: Mapping[Partition, int],
        more: Callable[[Mapping[Partition, Place]], list[Item]] | None = None,
    ) -> bool:
        """With the live places locked nothing is settled: what they have passed is applied, and
        what lies behind them and was settled before the log was read again. Then the swap.

        Raises:
            Passed: they are behind what was read, and nobody gives `more`; or it is too much that
                they have passed.
        """
        self._check_owner(connection)
        keep_vacuum_away(connection, self._shadow, self._left)
        live = live_places(connection, self.topics, lock=True)
        if any(at.offset >= ends.get(name, 0) for name, at in live.items()):
            if more is None:
                raise Passed(live)
            tail = [*tail, *more(live)]
        if sum(_has_passed(live, item) for item in tail) > NEAR:
            raise Passed(live)
        if not all(self._agrees(name, live.get(name), tail) for name, end in ends.items() if end):
            return False
        settled = recorded(connection, inbox.c.event_id, [i.id for i in tail])
        due = [i for i in tail if _has_passed(live, i) or i.id in settled]
        self._filler.fill(connection, due)
        self._filler.finish(connection)
        swap(connection, self._shadow, self._left)
        return True

    def _agrees(self, name: Partition, live: Place | None, tail: list[Item]) -> bool:
        """Whether the live place is where the shadow stands or behind it in what was read: then
        both have read the same log."""
        if live is None or live.offset == BEGINNING:
            return False
        here = self._filler.reached.get(name)
        if here is not None and live.offset <= here.offset:
            return (live.offset, live.event_id, live.stamp) == (
                here.offset,
                here.event_id,
                here.stamp,
            )
        its = [i for i in tail if (i.record.topic, i.record.partition) == name]
        if any(is_at(item, live) for item in its):
            return True
        gone = all(i.record.offset != live.offset for i in its)
        return name[0] in COMPACTED and gone and (not its or its[-1].record.offset > live.offset)


def _owner_of(read_model: Projection) -> str:
    """Where it is written down who rebuilds it."""
    return f"rebuild.{read_model.name}"


def _partition(item: Item) -> Partition:
    return item.record.topic, item.record.partition


def _by_partition(items: Iterable[Item]) -> Iterable[tuple[Partition, Item]]:
    return ((_partition(item), item) for item in items)


def _may_be_at(item: Item | None, at: Place, name: Partition) -> bool:
    """Whether this, the first that is there from a place on, is the record of the place. Where
    compaction may have taken that one, it cannot be said that it is not."""
    gone = item is None or item.record.offset > at.offset
    return name[0] in COMPACTED if gone else item is not None and is_at(item, at)


def _has_passed(live: Mapping[Partition, Place], item: Item) -> bool:
    """Whether the live side has settled the item, or set it aside."""
    at = live.get((item.record.topic, item.record.partition))
    return at is not None and item.record.offset <= at.offset
