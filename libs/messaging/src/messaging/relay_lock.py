"""One relay per service: a lock file beside a SQLite store, an advisory lock on PostgreSQL.

What the relay marks goes through the session that holds the lock, so that one which lost it cannot
mark anything.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa

from runtime.patience import Patience
from runtime.prepared import ends_through_wire
from runtime.store import (
    IDLE_IN_TRANSACTION_TIMEOUT_MS,
    Store,
    database_address,
    limit_transactions,
)

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

RELAY = 0x7265_6C61_79
"""The number of the advisory lock; each service has its own database."""

TRY_EVERY = 1.0

IDLE = 45.0
"""Seconds after which the server ends a session that says nothing, and frees its lock. A process
that is gone with its machine, or behind something that does not pass its end on, would hold it
until the server's TCP gives up, two hours later (seen: `make chaos`). Short enough for a house to
be well again within a minute, three times as long as an idle relay is silent."""


class RelayLock(Protocol):
    """Held by the one relay that may publish."""

    waiting: bool
    """Whether another holds it, and it is asked for again and again."""

    async def acquire(self) -> None:
        """Wait until this process holds the lock; nothing to do when it does."""

    async def write(self, work: Work[T]) -> T:
        """One transaction, through the holder."""

    async def keep(self) -> None:
        """Say that the holder is there: more often than every `IDLE` seconds."""

    async def release(self) -> None:
        """Let another take over."""


def relay_lock(store: Store, *, idle: float = IDLE) -> RelayLock:
    """The lock that fits the store; `idle` seconds of silence are the end of a session."""
    return _Session(store, idle) if store.dialect == "postgresql" else _File(store)


class _File:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = Path(f"{database_address(store.url).database}.relay")
        self._held: int | None = None
        self.waiting = False

    async def acquire(self) -> None:
        try:
            while self._held is None:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._held = descriptor
                except BlockingIOError:
                    os.close(descriptor)
                    self.waiting = True
                    await asyncio.sleep(TRY_EVERY)
        finally:
            self.waiting = False

    async def write(self, work: Work[T]) -> T:
        return await self._store.write(work)

    async def keep(self) -> None:
        """The file is this process's as long as it runs."""

    async def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


class _Session:
    def __init__(self, store: Store, idle: float) -> None:
        self._engine = sa.create_engine(
            database_address(store.url),
            poolclass=sa.NullPool,
            hide_parameters=True,
            connect_args={
                "connect_timeout": 10,
                "options": f"-c timezone=UTC -c idle_session_timeout={round(idle * 1000)}"
                f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS}",
            },
        )
        limit_transactions(self._engine)
        ends_through_wire(self._engine)
        self._patience = Patience(self._engine)
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sa.Connection | None = None
        self.waiting = False

    async def acquire(self) -> None:
        try:
            while not await self._run(self._try):
                self.waiting = True
                await asyncio.sleep(TRY_EVERY)
        finally:
            self.waiting = False

    def _try(self) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            held = self._connection.scalar(
                sa.text(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'"
                    " AND pid = pg_backend_pid() AND granted AND objsubid = 1"
                    " AND ((classid::bigint << 32) | objid::bigint) = :n)"
                    " OR pg_try_advisory_lock(:n)"
                ),
                {"n": RELAY},
            )
            self._connection.commit()
        except sa.exc.DBAPIError:
            self._close()
            raise
        return bool(held)

    async def write(self, work: Work[T]) -> T:
        return await self._run(lambda: self._write(work))

    def _write(self, work: Work[T]) -> T:
        connection = self._connection
        if connection is None:
            raise ConnectionError("the relay's session is closed")
        try:
            with connection.begin():
                return work(connection)
        except Exception:
            # Asked again it would connect anew, without the lock.
            if connection.invalidated:
                self._close()
            raise

    async def keep(self) -> None:
        await self._run(lambda: self._write(lambda connection: connection.scalar(sa.select(1))))

    async def release(self) -> None:
        await self._run(self._close)
        self._patience.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)
        self._engine.dispose()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._watched, work)

    def _watched(self, work: Callable[[], T]) -> T:
        with self._patience.watched():
            return work()
