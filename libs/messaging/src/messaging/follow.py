"""Is the log still the one that was read? Asked by every subscriber after an assignment and every
30 s, because a log that was made anew says nothing while it is quiet.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from contracts import COMPACTED
from messaging.bus import Reader
from messaging.envelope import Record, decode
from messaging.outcome import BEGINNING, Partition, Place, is_at
from messaging.settle import Settler
from messaging.tables import place
from messaging.turn import Turn
from runtime.logging import get_logger
from runtime.store import Store

log = get_logger()


@dataclass
class Looked:
    """Where to read on instead, and whether there is something that was not settled."""

    seeks: dict[Partition, int] = field(default_factory=dict)
    behind: bool = False


class Follow:
    """Compares the places in the store with the log and with what this process believes."""

    def __init__(self, settler: Settler, store: Store, turn: Turn) -> None:
        self._settler = settler
        self._store = store
        self._turn = turn

    async def look(self, reader: Reader, assigned: Collection[Partition]) -> Looked:
        """Read the record at every place again; where it is another, read from the beginning.
        Where somebody else moved the place, read on from there; where it is gone (a store restored
        from before it was there), from the beginning."""
        looked = Looked()
        settled = await self._store.read(in_places)
        # Asked together: one after the other, a service's partitions take seconds.
        bounds = await reader.all_bounds(sorted(assigned))
        read = {name: at for name in bounds if (at := settled.get(name)) and at.offset != BEGINNING}
        there = await reader.exactly(
            {name: at.offset for name, at in read.items() if at.offset < bounds[name][1]}
        )
        for name, (_, end) in bounds.items():
            here = settled.get(name)
            looked.behind |= end > (here.offset + 1 if here else 0)
            if name not in read or await same(reader, name, read[name], end, there.get(name)):
                continue
            async with self._turn:
                again = partial(begin_again, name=name, known=read[name])
                if await self._store.write(again):
                    log.warning("log.read_from_beginning", topic=name[0], partition=name[1])
                    self._settler.forget([name])
                    looked.seeks[name] = BEGINNING
        async with self._turn:
            places = await self._store.read(in_places)
            for name in assigned:
                known, now = self._settler.expected.get(name), places.get(name)
                if known is not None and known != now:
                    self._settler.forget([name])
                    looked.seeks.setdefault(name, now.offset + 1 if now else 0)
        return looked


async def same(
    reader: Reader, name: Partition, known: Place, end: int, record: Record | None
) -> bool:
    """Whether the `record` at a place is the one that was settled there. Where compaction took it,
    the first one behind must not tell of another era."""
    if record is None and name[0] in COMPACTED and end > known.offset:
        record = await reader.at(*name, known.offset)
    if record is None:
        return False
    there = decode(record)
    if record.offset > known.offset:
        return there.era <= known.era
    return is_at(there, known)


def in_places(connection: sa.Connection) -> dict[Partition, Place]:
    """How far every topic is settled."""
    rows = connection.execute(sa.select(place).where(place.c.side == "in"))
    return {
        (r.topic, r.partition): Place(r.record_offset, r.event_id, r.stamp, r.era) for r in rows
    }


def begin_again(connection: sa.Connection, name: Partition, known: Place) -> bool:
    """Put the place of a partition before its beginning, unless it moved meanwhile."""
    done = connection.execute(
        sa.update(place)
        .where(
            place.c.side == "in",
            place.c.topic == name[0],
            place.c.partition == name[1],
            place.c.record_offset == known.offset,
            place.c.event_id == known.event_id,
            place.c.stamp == known.stamp,
        )
        .values(record_offset=BEGINNING, event_id="", stamp=0)
    )
    return bool(done.rowcount)


def begin_all_again(connection: sa.Connection) -> None:
    """Put every place before the beginning; locked in the order in which batches lock them."""
    connection.execute(
        sa.select(place.c.topic)
        .where(place.c.side == "in")
        .order_by(place.c.topic, place.c.partition)
        .with_for_update()
    )
    connection.execute(
        sa.update(place)
        .where(place.c.side == "in")
        .values(record_offset=BEGINNING, event_id="", stamp=0)
    )
