"""Rebuilding a read model from the log, beside the one that answers (DESIGN §3.6).

Shadow tables are filled in slices by an own reader with the rules of the live way (ids once,
``previous`` first, without what is set aside), then swapped in one transaction. Where it stands is
kept in the store with each slice, so that a rebuild that was killed goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from messaging.envelope import Item, Marker, Received, Record, decode
from messaging.reactions import Projection, ProjectionTransaction
from messaging.service import Difference, Service
from messaging.tables import place, projection, set_aside
from runtime.logging import get_logger
from runtime.store import Store, insert_ignore, upsert

log = get_logger()

SLICE = 500
SLICE_SECONDS = 0.02


class Log(Protocol):
    """What a rebuild reads from: all records of some topics between places."""

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The offset after the last record of every partition."""
        ...

    def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        """Batches of records from `starts` (inclusive) up to `ends` (exclusive)."""
        ...


class Shadow:
    """The tables of one rebuild: a copy of each table of the projection, and what it has seen."""

    def __init__(self, read_model: Projection, suffix: str = "rebuild") -> None:
        self.of = read_model
        self.metadata = sa.MetaData()
        self.tables = {
            table.name: _copy(table, self.metadata, f"{table.name}_{suffix}")
            for table in read_model.tables
        }
        self.seen = sa.Table(
            f"{read_model.name}_{suffix}_seen",
            self.metadata,
            sa.Column("event_id", sa.String(160), primary_key=True),
            sqlite_with_rowid=False,
        )
        self.side = f"{read_model.side}/{suffix}"

    def create(self, connection: sa.Connection) -> None:
        """Make the tables unless they are there from a rebuild that was interrupted."""
        self.metadata.create_all(connection)

    def drop(self, connection: sa.Connection) -> None:
        """Away with the tables and the places."""
        self.metadata.drop_all(connection)
        connection.execute(sa.delete(place).where(place.c.side == self.side))

    def starts(self, connection: sa.Connection) -> dict[tuple[str, int], int]:
        """Where the last slice ended."""
        rows = connection.execute(sa.select(place).where(place.c.side == self.side))
        return {(r.topic, r.partition): r.record_offset + 1 for r in rows}


def _copy(table: sa.Table, metadata: sa.MetaData, name: str) -> sa.Table:
    copy = table.to_metadata(metadata, name=name)
    for index in list(copy.indexes):
        copy.indexes.discard(index)
    for index in table.indexes:
        sa.Index(
            f"{index.name}_{name}"[:60],
            *(copy.c[column.name] for column in index.columns),
            unique=index.unique,
        )
    return copy


class Filler:
    """Fills a shadow from batches of records: ids once, ``previous`` first."""

    def __init__(self, shadow: Shadow) -> None:
        self.shadow = shadow
        self.read_model = shadow.of
        self.waiting: dict[str, list[Item]] = {}
        self.without: frozenset[str] = frozenset()

    def open(self, connection: sa.Connection) -> None:
        """What was set aside has no effect, as in the live model."""
        self.without = frozenset(connection.scalars(sa.select(set_aside.c.event_id)))

    def fill(self, connection: sa.Connection, items: Sequence[Item]) -> None:
        """One slice, with the places that it reached, in the caller's transaction."""
        p = ProjectionTransaction(connection, self.shadow.tables)
        wanted = sorted({i.id for i in items} | {i.previous for i in items if i.previous})
        seen: set[str] = set()
        for start in range(0, len(wanted), SLICE):
            seen.update(
                connection.scalars(
                    sa.select(self.shadow.seen.c.event_id).where(
                        self.shadow.seen.c.event_id.in_(wanted[start : start + SLICE])
                    )
                )
            )
        fresh: list[str] = []
        for item in items:
            if item.id in seen or isinstance(item.content, Marker):
                continue
            if item.previous and item.previous not in seen:
                self.waiting.setdefault(item.previous, []).append(item)
                continue
            ready = [item]
            while ready:
                one = ready.pop()
                if one.id in seen:
                    continue
                self._apply(p, one)
                seen.add(one.id)
                fresh.append(one.id)
                ready += self.waiting.pop(one.id, [])
        if fresh:
            insert_ignore(connection, self.shadow.seen, [{"event_id": e} for e in fresh])
        if not self.waiting:
            self._move(connection, items)

    def finish(self, connection: sa.Connection) -> None:
        """At the end of the log nothing more comes: what still waits is applied in its order."""
        p = ProjectionTransaction(connection, self.shadow.tables)
        left = [item for items in self.waiting.values() for item in items]
        self.waiting.clear()
        for item in sorted(left, key=lambda i: (i.record.stamp, i.record.offset)):
            self._apply(p, item)

    def _apply(self, p: ProjectionTransaction, item: Item) -> None:
        if item.id in self.without or not isinstance(item.content, Received):
            return
        function = self.read_model.of(type(item.content.event))
        if function is not None:
            function(p, item.content)

    def _move(self, connection: sa.Connection, items: Sequence[Item]) -> None:
        """Places move only while nothing waits in memory: a killed rebuild loses nothing."""
        last = {(i.record.topic, i.record.partition): i for i in items}
        upsert(
            connection,
            place,
            [
                {
                    "side": self.shadow.side,
                    "topic": topic,
                    "partition": number,
                    "record_offset": item.record.offset,
                    "event_id": item.id[:64],
                    "stamp": item.record.stamp,
                    "era": item.era,
                }
                for (topic, number), item in last.items()
            ],
            key=("side", "topic", "partition"),
        )


async def fill(
    store: Store,
    shadow: Shadow,
    source: Log,
    filler: Filler,
    *,
    ends: dict[tuple[str, int], int],
    progress: Callable[[int], None] = lambda _count: None,
) -> None:
    """Read from where the shadow stands up to `ends`, in slices that let others write between."""
    starts = await store.read(shadow.starts)
    async for batch in source.read(starts, ends):
        items = await asyncio.to_thread(lambda batch=batch: [decode(r) for r in batch])  # type: ignore[misc]
        size = SLICE
        at = 0
        while at < len(items):
            part = items[at : at + size]
            begun = time.monotonic()
            await store.write(lambda c, part=part: filler.fill(c, part))  # type: ignore[misc]
            spent = time.monotonic() - begun
            at += len(part)
            size = max(20, min(SLICE, int(size * SLICE_SECONDS / max(spent, 0.001))))
        progress(len(items))


def swap(connection: sa.Connection, shadow: Shadow) -> None:
    """The shadow becomes the live model, in the caller's transaction."""
    sqlite = connection.dialect.name == "sqlite"
    for table in shadow.of.tables:
        copy = shadow.tables[table.name]
        table.drop(connection)
        connection.execute(sa.text(f'ALTER TABLE "{copy.name}" RENAME TO "{table.name}"'))
        names = {index.name: f"{index.name}_{copy.name}"[:60] for index in table.indexes}
        for index in table.indexes:
            if sqlite:
                connection.execute(sa.text(f'DROP INDEX "{names[index.name]}"'))
                index.create(connection)
            else:
                connection.execute(
                    sa.text(f'ALTER INDEX "{names[index.name]}" RENAME TO "{index.name}"')
                )
        if not sqlite and table.primary_key.columns:
            _rename_primary_key(connection, table.name, copy.name)
    shadow.seen.drop(connection)
    connection.execute(sa.delete(place).where(place.c.side == shadow.side))
    connection.execute(sa.delete(projection).where(projection.c.name == shadow.of.name))
    connection.execute(
        sa.insert(projection).values(name=shadow.of.name, version=shadow.of.version, state="live")
    )


def _rename_primary_key(connection: sa.Connection, table: str, was: str) -> None:
    found = connection.scalar(
        sa.text(
            "SELECT conname FROM pg_constraint"
            " WHERE contype = 'p' AND conrelid = CAST(:name AS regclass)"
        ),
        {"name": table},
    )
    if found and found != f"{table}_pkey":
        connection.execute(
            sa.text(f'ALTER TABLE "{table}" RENAME CONSTRAINT "{found}" TO "{table}_pkey"')
        )


def differences(
    connection: sa.Connection,
    service: Service,
    read_model: Projection,
    records: Iterable[Record],
) -> list[Difference]:
    """Compare a live model with its rebuild from `records`, in the caller's transaction; what
    differs is named by its key. Uses tables of its own and removes them."""
    shadow = Shadow(read_model, "verify")
    filler = Filler(shadow)
    shadow.drop(connection)
    shadow.create(connection)
    filler.open(connection)
    topics = {e.TOPIC for e in read_model.events}
    part: list[Item] = []
    for record in records:
        if record.topic not in topics:
            continue
        part.append(decode(record))
        if len(part) == SLICE:
            filler.fill(connection, part)
            part = []
    filler.fill(connection, part)
    filler.finish(connection)
    found = compare(connection, service, shadow)
    shadow.drop(connection)
    return found


def compare(connection: sa.Connection, service: Service, shadow: Shadow) -> list[Difference]:
    """Rows of the live tables against those of the shadow, by primary key."""
    found: list[Difference] = []
    name = f"{service.name}.{shadow.of.name}"
    for table in shadow.of.tables:
        live = _rows(connection, table)
        rebuilt = _rows(connection, shadow.tables[table.name])
        for key in sorted(live.keys() | rebuilt.keys(), key=str):
            if live.get(key) != rebuilt.get(key):
                columns = _differing(live.get(key), rebuilt.get(key))
                found.append(
                    Difference(
                        check=name,
                        subject=f"{table.name} {'/'.join(map(str, key))}",
                        expected="no row" if key not in rebuilt else f"rebuilt {columns}",
                        found="no row" if key not in live else f"live {columns}",
                    )
                )
    return found


def _rows(connection: sa.Connection, table: sa.Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    keys = [c.name for c in table.primary_key.columns]
    rows = connection.execute(sa.select(table)).mappings()
    return {tuple(row[k] for k in keys): dict(row) for row in rows}


def _differing(one: dict[str, Any] | None, other: dict[str, Any] | None) -> str:
    """Names of columns, not their values, which may be personal."""
    if one is None or other is None:
        return "row"
    return "other " + ", ".join(sorted(k for k in one if one[k] != other.get(k)))
