"""A store that was put back from a backup, and what its service does before it opens (DESIGN §3.8).

Whoever puts a backup back writes a mark into the store first. A service that finds the mark answers
nothing but "being restored", runs no jobs and delivers nothing, until the mark is lifted.
Meanwhile, in this order and as often as it is broken off:

1. the relay reconciles: what the backup has forgotten and the bus knows is adopted;
2. subscribers go on from the places of the backup up to the end of the log; an event whose reaction
   was adopted is settled without its policies;
3. read models that this build wants anew are built;
4. the service's own `on_restore`: keys turned, deliveries unknown, erasures again;
5. what came back is noted beside the mark, for whoever put the backup back and now lifts the mark.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from messaging.bus import Bus
from messaging.follow import in_places
from messaging.tables import meta, outbox, read_meta, write_meta
from runtime.logging import get_logger

if TYPE_CHECKING:
    from messaging.engine import Engine

MARK = "restoring"
FOUND = "restoring.recovered"
WITHOUT_STATE = "restoring.without_state"
READY = "restoring.ready"
LOOK_EVERY = 0.2

log = get_logger()


@dataclass(frozen=True, slots=True)
class Restoring:
    """Which backup was put back. `last_row`: of its outbox; what is behind it was recovered.
    `new_machine`: the secrets of the machine that made it are not here."""

    backup: str
    taken_at: datetime
    last_row: int
    new_machine: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came back from the bus: events by type, and the ids of those whose state did not."""

    events: Mapping[str, int] = field(default_factory=dict)
    without_state: Mapping[str, str] = field(default_factory=dict)


def mark(connection: sa.Connection, restoring: Restoring) -> None:
    """From now on the store's service does not open. What was recovered under another mark, such as
    that of a backup made in the middle of a restore, counts no more."""
    lift(connection)
    told = asdict(restoring) | {"taken_at": restoring.taken_at.isoformat()}
    write_meta(connection, MARK, json.dumps(told))


def read(connection: sa.Connection) -> Restoring | None:
    """The mark, if the store has one."""
    told = read_meta(connection, MARK)
    if told is None:
        return None
    found = json.loads(told)
    taken_at = datetime.fromisoformat(found.pop("taken_at")).astimezone(UTC)
    return Restoring(taken_at=taken_at, **found)


def recovered(connection: sa.Connection) -> Recovered | None:
    """What came back; None while the service is still at it."""
    if read_meta(connection, READY) is None:
        return None
    return Recovered(**json.loads(read_meta(connection, FOUND) or "{}"))


def lift(connection: sa.Connection) -> None:
    """The service may open."""
    notes = [MARK, FOUND, WITHOUT_STATE, READY]
    connection.execute(sa.delete(meta).where(meta.c.name.in_(notes)))


async def recover(engine: Engine, bus: Bus) -> None:
    """All of it, until the mark is lifted; broken off, it may be begun again. A replica whose relay
    stands by waits until another one has done it."""
    store = engine.store
    relay = engine.start_relay(bus)
    while not relay.reconciled.is_set():
        if await store.read(read) is None:
            engine.start_subscriptions(bus)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await relay.reconciled.wait()
    await store.write(_note)
    engine.start_subscriptions(bus)
    await _caught_up(engine, bus)
    await engine.rebuilds.what_must(bus)
    if await store.read(partial(read_meta, name=READY)) is None:
        await engine.on_restore()
        await store.write(partial(write_meta, name=READY, value="yes"))
        log.warning("restore.ready")
    while await store.read(read) is not None:  # noqa: ASYNC110 - another process lifts it
        await asyncio.sleep(LOOK_EVERY)


def note_without_state(connection: sa.Connection, event_id: str, event_type: str) -> None:
    """An event whose state could not be given back is named, in the transaction that takes it over:
    the next look at the log knows it already. Outside of a restore the log says it alone."""
    if read_meta(connection, MARK) is None:
        return
    named = _without_state(connection)
    write_meta(connection, WITHOUT_STATE, json.dumps({**named, event_id: event_type}))


def _without_state(connection: sa.Connection) -> dict[str, str]:
    return dict(json.loads(read_meta(connection, WITHOUT_STATE) or "{}"))


def _note(connection: sa.Connection) -> None:
    """Before anything new is told: behind the backup's last row there is nothing but what was
    recovered."""
    put_back = read(connection)
    if put_back is None or read_meta(connection, FOUND) is not None:
        return
    rows = connection.execute(
        sa.select(outbox.c.type, sa.func.count().label("told"))
        .where(outbox.c.row > put_back.last_row)
        .group_by(outbox.c.type)
        .order_by(outbox.c.type)
    )
    found = Recovered({row.type: row.told for row in rows}, _without_state(connection))
    write_meta(connection, FOUND, json.dumps(asdict(found)))


async def _caught_up(engine: Engine, bus: Bus) -> None:
    """Wait until everything that is on the bus now is settled or set aside."""
    async with bus.reader() as reader:
        ends = {
            (topic, partition): end
            for topic in engine.service.reads
            for partition in await reader.partitions(topic)
            for begin, end in [await reader.bounds(topic, partition)]
            if begin < end
        }
    while True:
        places = await engine.store.read(in_places)
        if all(n in places and places[n].offset >= end - 1 for n, end in ends.items()):
            return
        await asyncio.sleep(LOOK_EVERY)
