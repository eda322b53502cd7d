"""One relay for a service: whoever is there keeps the lock, and whoever is gone loses it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from messaging.relay_lock import relay_lock
from runtime.store import Store
from runtime.testing.databases import postgresql_database

IDLE = 2.0
WITHIN = 10.0


@pytest.fixture
def postgresql() -> Iterator[Store]:
    """On SQLite the lock is a file, and the kernel lets go of it."""
    with postgresql_database() as url:
        store = Store(url)
        yield store
        store.close_now()


async def test_a_second_waits_until_the_first_lets_go(store: Store) -> None:
    first, second = relay_lock(store), relay_lock(store)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    assert (await asyncio.wait({waiting}, timeout=0.3))[1] == {waiting}
    assert (first.waiting, second.waiting) == (False, True)
    await first.release()
    await asyncio.wait_for(waiting, WITHIN)
    assert not second.waiting
    await second.release()


async def test_who_has_the_lock_never_waits_for_it(store: Store) -> None:
    """It would count as another's, and its service as on the bus."""
    lock = relay_lock(store)
    seen = set()
    for _ in range(3):
        asking = asyncio.create_task(lock.acquire())
        while not asking.done():
            seen.add(lock.waiting)
            await asyncio.sleep(0)
    assert seen == {False}
    await lock.release()


async def test_who_is_gone_without_a_word_loses_the_lock(postgresql: Store) -> None:
    """A machine without power, or something between that does not pass the end on."""
    gone, other = relay_lock(postgresql, idle=IDLE), relay_lock(postgresql, idle=IDLE)
    await gone.acquire()
    await asyncio.wait_for(other.acquire(), WITHIN)
    with pytest.raises((sa.exc.DBAPIError, ConnectionError)):
        await gone.write(lambda connection: connection.scalar(sa.select(1)))
    await gone.release()
    await other.release()


async def test_who_lost_the_session_by_another_error_writes_nothing_without_the_lock(
    postgresql: Store,
) -> None:
    """As when nobody knows what a statement that stands alone is at."""

    def lost(connection: sa.Connection) -> None:
        connection.invalidate()
        raise LookupError

    first, other = relay_lock(postgresql), relay_lock(postgresql)
    await first.acquire()
    with pytest.raises(LookupError):
        await first.write(lost)
    await asyncio.wait_for(other.acquire(), WITHIN)
    with pytest.raises(ConnectionError):
        await first.write(lambda connection: connection.scalar(sa.select(1)))
    await first.release()
    await other.release()


async def test_who_says_that_he_is_there_keeps_it(postgresql: Store) -> None:
    quiet, other = relay_lock(postgresql, idle=IDLE), relay_lock(postgresql, idle=IDLE)
    await quiet.acquire()
    waiting = asyncio.create_task(other.acquire())
    until = time.monotonic() + 1.5 * IDLE
    while time.monotonic() < until:
        assert not (await asyncio.wait({waiting}, timeout=IDLE / 4))[0]
        await quiet.keep()
    await quiet.release()
    await asyncio.wait_for(waiting, WITHIN)
    await other.release()
