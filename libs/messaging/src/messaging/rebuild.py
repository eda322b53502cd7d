"""Rebuilding a projection while the service runs (DESIGN §3.6).

The shadow is filled up to the end of the log while the old model answers and others settle. Then
settling pauses, the rest up to the live places is read exactly, and the tables are swapped in one
transaction. Killed at any point it goes on at the next start: where the shadow stands is in the
store, and the projection counts as building until the swap.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import sqlalchemy as sa

from messaging.attempt import Live
from messaging.reactions import Projection
from messaging.service import Service
from messaging.shadow import Filler, Log, Shadow, fill, swap
from messaging.tables import inbox, place, projection
from runtime.store import Store

GIVE_UP = 5
"""Tries of a rebuild that fails by its own fault; one that waits for bus or store never ends."""

NEAR = 5_000
"""Records; a log that grew by less while it was read is finished with settling paused."""


@dataclass
class Progress:
    """How far a rebuild is; records read so far, of about how many."""

    records: int = 0
    total: int = 0
    done: bool = False
    failed: str = ""
    failures: int = 0


def declare(connection: sa.Connection, service: Service) -> None:
    """Note every projection of this build: live in a store that heard nothing yet, else to be
    built when its name or version is new."""
    known = {
        (name, version)
        for name, version in connection.execute(sa.select(projection.c.name, projection.c.version))
    }
    heard = connection.scalar(sa.select(sa.exists().where(inbox.c.event_id.is_not(None))))
    for p in service.all_projections:
        if (p.name, p.version) not in known:
            connection.execute(
                sa.insert(projection).values(
                    name=p.name, version=p.version, state="building" if heard else "live"
                )
            )


async def rebuild(
    store: Store,
    read_model: Projection,
    source: Log,
    live: Live,
    pause: Callable[[], AbstractAsyncContextManager[None]],
    progress: Progress,
) -> None:
    """Build `read_model` anew and swap it in. Raises when the bus or the store goes away; called
    again it goes on from where it was."""
    shadow = Shadow(read_model)
    filler = Filler(shadow)
    await store.write(shadow.create)
    await store.write(filler.open)
    topics = sorted({e.TOPIC for e in read_model.events})

    def count(records: int) -> None:
        progress.records += records

    while True:
        ends = await source.ends(topics)
        starts = await store.read(shadow.starts)
        left = sum(max(0, end - starts.get(name, 0)) for name, end in ends.items())
        progress.total = progress.records + left
        await fill(store, shadow, source, filler, ends=ends, progress=count)
        if left <= NEAR:
            break
    async with pause():
        ends = await store.read(lambda c: _live_ends(c, topics))
        await store.write(filler.open)
        await fill(store, shadow, source, filler, ends=ends, progress=count)

        def finish(connection: sa.Connection) -> None:
            filler.finish(connection)
            swap(connection, shadow)

        await store.write(finish)
        live.projections = live.projections | {read_model}
    progress.done = True


def _live_ends(connection: sa.Connection, topics: list[str]) -> dict[tuple[str, int], int]:
    rows = connection.execute(
        sa.select(place.c.topic, place.c.partition, place.c.record_offset).where(
            place.c.side == "in", place.c.topic.in_(topics)
        )
    )
    return {(topic, partition): offset + 1 for topic, partition, offset in rows}
