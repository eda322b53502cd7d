"""A store is put back from an earlier copy while all others go on.

What had reached the bus comes back; what had not may be forgotten, and is named here, so that the
check does not ask for it. The steps are those of whoever restores one service: the mark is written
into the store before its service starts, and lifted when it has recovered.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from chaos.checks.log import CopiedBus
from chaos.faults import cluster
from chaos.faults.patience import patiently
from chaos.faults.site import FaultError, Site
from chaos.faults.stores import administration, end_sessions
from chaos.plan import Fault
from messaging import restoring
from messaging.bus import Bus, BusAway
from messaging.envelope import decode
from messaging.tables import outbox
from runtime.store import database_address
from vicinato.kafka.broker import ADMIN
from vicinato.programs.service import name_in_database, store_url

T = TypeVar("T")

RECOVERED_WITHIN = 180.0
COPY = "chaos_copy"


async def restore(site: Site, fault: Fault) -> None:
    """A copy of the round's beginning, or of some seconds ago."""
    name = fault.target
    # Whoever is killed meanwhile stays away: the supervisor stands still while a part is down.
    needed = ("kafka", "bus wire", "postgresql", "disk")
    async with site.alone(name, *needed, f"store {name}"):
        if name not in site.copies:
            await copy(site, name)
            await asyncio.sleep(fault.seconds)
        await cluster.answers(site)
        await site.stores_answer()
        # It counts as ready a moment longer when it has just ended on a full disk.
        await asyncio.to_thread(_in, site, name, _last_row)
        await _log_is_whole(site, name)  # the house mends none while a part of it is held down
        last_row, taken_at = site.copies.pop(name)
        async with site.down(name):
            on_bus = await _ids_on_bus(site, name)
            forgotten = await asyncio.to_thread(_put_back, site, name, last_row)
            put_back = restoring.Restoring(backup="chaos", taken_at=taken_at, last_row=last_row)
            await asyncio.to_thread(_in, site, name, lambda c: restoring.mark(c, put_back))
            _excuse(site, name, forgotten, on_bus)
        await _recovered(site, name)


async def copy(site: Site, name: str) -> None:
    """Remember this moment of a store."""
    taken_at = datetime.now(UTC)
    if site.engine == "sqlite":
        last_row = await asyncio.to_thread(_copy_file, site, name)
    else:
        await site.stores_answer()  # while a part is held down, nothing else is started again
        async with site.down(name):
            last_row = await asyncio.to_thread(_copy_database, site, name)
        await site.ready(name)
    site.copies[name] = (last_row, taken_at)


def _file(site: Site, name: str) -> Path:
    return site.folder.stores / f"{name}.db"


def _kept(site: Site, name: str) -> Path:
    return site.battery.with_name(f"{name}.copy.db")


def _copy_file(site: Site, name: str) -> int:
    kept = _kept(site, name)
    kept.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(_file(site, name), timeout=30)) as source,
        closing(sqlite3.connect(kept)) as target,
    ):
        source.backup(target)
        (row,) = target.execute('SELECT coalesce(max("row"), 0) FROM outbox').fetchone()
        return int(row)


def _copy_database(site: Site, name: str) -> int:
    """PostgreSQL copies a database only while nobody is in it."""
    last_row = int(_in(site, name, _last_row))
    end_sessions(site, name)
    with administration(site) as connection:
        database, kept = name_in_database(name), f"{COPY}_{name}"
        connection.execute(f"DROP DATABASE IF EXISTS {kept}")
        connection.execute(f"CREATE DATABASE {kept} TEMPLATE {database} OWNER {database}")
    return last_row


def _last_row(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.max(outbox.c.row))) or 0)


def _put_back(site: Site, name: str, last_row: int) -> list[Any]:
    """Exchange the store for its copy; gives the rows of the outbox that the copy has not."""
    forgotten = _in(
        site, name, lambda c: list(c.execute(sa.select(outbox).where(outbox.c.row > last_row)))
    )
    if site.engine == "sqlite":
        path = _file(site, name)
        for part in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            part.unlink(missing_ok=True)
        shutil.copyfile(_kept(site, name), path)
    else:
        end_sessions(site, name)
        with administration(site) as connection:
            database, kept = name_in_database(name), f"{COPY}_{name}"
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
            connection.execute(f"ALTER DATABASE {kept} RENAME TO {database}")
    return forgotten


@contextmanager
def _connected(site: Site, name: str) -> Iterator[sa.Connection]:
    address = database_address(store_url(name, site.house.settings, site.folder))
    engine = sa.create_engine(address, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _in(site: Site, name: str, work: Callable[[sa.Connection], T]) -> T:
    """In one transaction on the store, as whoever restores it; again when it is broken off."""

    def once() -> T:
        with _connected(site, name) as connection:
            return work(connection)

    return patiently(once)


async def _log_is_whole(site: Site, name: str) -> None:
    """Nor is it damaged from now on: who damages it waits for its turn."""
    deadline = time.monotonic() + RECOVERED_WITHIN
    while True:
        try:
            await _ids_on_bus(site, name)
            return
        except BusAway as error:
            if time.monotonic() > deadline:
                raise FaultError(f"the log cannot be read: {error}") from error
            await asyncio.sleep(1)


async def _ids_on_bus(site: Site, name: str) -> set[str]:
    secret = site.folder.kafka_secrets.get(ADMIN)
    async with CopiedBus(Bus(f"127.0.0.1:{site.bus.port}", ADMIN, secret)).reader() as log:
        return {
            decode(record).id
            for (topic, _), records in log.records.items()
            if topic.startswith(f"{name}.")
            for record in records
        }


async def _recovered(site: Site, name: str) -> None:
    """The service is at it; then the mark is lifted and it opens."""
    deadline = time.monotonic() + RECOVERED_WITHIN
    while time.monotonic() < deadline:
        found = await asyncio.to_thread(_in, site, name, restoring.recovered)
        if found is not None:
            if found.without_state:
                site.say(f"restored {name}: without state {dict(found.without_state)}")
            await asyncio.to_thread(_in, site, name, restoring.lift)
            site.say(f"restored {name}: {sum(found.events.values())} events came back")
            return
        await asyncio.sleep(0.5)
    raise FaultError(f"{name} has not recovered within {RECOVERED_WITHIN:.0f} s")


def _excuse(site: Site, name: str, forgotten: list[Any], on_bus: set[str]) -> None:
    """What was neither in the copy nor on the bus may be gone, if a client was told of it until
    now: the service is not there, so that nobody is told of anything."""
    now = time.time()
    lost = [row for row in forgotten if row.id not in on_bus and row.body is not None]
    for row in lost:
        site.excused.add(row.id, row.type, json.loads(row.body), now)
    site.excused.restored.add(name)
    site.say(
        f"restored {name}: {len(forgotten)} events behind the copy, {len(lost)} not on the bus"
    )
