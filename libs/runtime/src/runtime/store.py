"""One service's database, reached through threads so that the domain stays synchronous.

What holds:

* Every write is kept whole in a writer thread's transaction when `work` returns, and undone when it
  raises. A caller who goes away leaves no half of it: what has begun is ended in its thread.
* On SQLite there is one writer thread, and who asks first is served first. SQLite's own waiting is
  unfair: beside a busy consumer a till waited up to 7 s, with this queue 28 ms. `BEGIN IMMEDIATE`
  takes the lock at the beginning, so that no transaction fails half-way for want of it. Some of
  those who wait at the same moment share one (`turns`).
* On PostgreSQL a small pool of writer threads serves the same queue; rows are locked by id order
  (`lock_rows`), or two replicas deadlock within seconds.
* Reads see one snapshot from their first to their last statement, and cannot write.
* What was committed is on disk (`synchronous=FULL`, `synchronous_commit=on`), what was deleted is
  overwritten (`secure_delete`), and with the next `tidy` gone from the write-ahead log too.
* A store that is locked, full or gone raises what `failures.is_transient` knows, and the next call
  works as soon as it is back; one that says nothing any more is hung up (`patience`). A write-ahead
  log that somebody removed is saved before the next call.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy import event

from runtime.failures import StoreClosed, StoreGone, breaks_connection
from runtime.named import lock_rows
from runtime.patience import PATIENCE, Patience
from runtime.prepared import RefusedTogether, ends_through_wire, one_by_one, together
from runtime.rows import (
    change,
    ensure,
    insert,
    insert_ignore,
    insert_once,
    upsert,
    upsert_statement,
)
from runtime.sqlite_file import SqliteFile
from runtime.turns import SHARED_BY, SHARED_FOR, Threads, Turn, Undone, beside, tell
from runtime.types import json_text

__all__ = [
    "Store",
    "WriteTimes",
    "alone",
    "change",
    "database_address",
    "ensure",
    "insert",
    "insert_ignore",
    "insert_once",
    "lock_rows",
    "migration_engine",
    "together",
    "upsert",
    "upsert_statement",
]

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

BUSY_TIMEOUT_MS = 5_000
LOCK_TIMEOUT_MS = 30_000
STATEMENT_TIMEOUT_MS = 300_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 25_000
"""Shorter than a lock is waited for: a process that is gone behind something that does not pass its
end on (a proxy, a machine without power) leaves a transaction open, and its locks, until then."""

TRANSACTION_TIMEOUT_MS = 40_000
"""The same for a process that was gone in the middle of what it asked (seen: `make chaos`): between
the messages of one request the server counts no idle time, and holds back the end of a statement's
time. Longer than a lock is waited for, shorter than `runtime.patience.PATIENCE`: no work takes as
long. From PostgreSQL 17 on."""

RESTED = 1.0
"""Seconds after which a connection is asked whether it lives before it is used. Asked each time, a
sale waited once more for the server in each of its transactions."""


@dataclass(frozen=True)
class WriteTimes:
    """Seconds that one write spent in the queue, at work, and in the commit."""

    waited: float
    worked: float
    committed: float


class Store:
    """The database of one service. Make one per process and close it at the end.

    `url` is "sqlite:////path/to/file.db" or "postgresql://user@host/name". The SQLite file is made
    when it is not there; the folder must be. `observe` is told of every committed write.
    """

    def __init__(
        self,
        url: str,
        *,
        readers: int = 2,
        writers: int = 2,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        observe: Callable[[WriteTimes], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        address = database_address(url)
        self.url = url
        self.dialect: str = address.get_backend_name()
        self._observe = observe
        self._lock = threading.Lock()
        self._turns: deque[Turn] = deque()
        self._closed = False
        self._inside = threading.local()
        if self.dialect == "sqlite":
            writers = 1
            self._file: SqliteFile | None = SqliteFile(Path(str(address.database)))
            self._write_engine = self._file.engine(busy_timeout_ms, write=True)
            self._read_engine = self._file.engine(busy_timeout_ms, write=False, size=readers)
        else:
            self._file = None
            self._write_engine = _postgresql_engine(address, write=True, size=writers)
            self._read_engine = _postgresql_engine(address, write=False, size=readers)
            limit_transactions(self._write_engine)
            limit_transactions(self._read_engine)
            ask_what_rested(self._write_engine)
            ask_what_rested(self._read_engine)
        self._patience = (
            None
            if self._file
            else Patience(self._write_engine, self._read_engine, seconds=patience)
        )
        self._writers = Threads(writers, "store-write")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="store-read")

    @property
    def folder(self) -> Path | None:
        """Where its file lies; None on PostgreSQL, whose disk is not seen from here."""
        return None if self._file is None else self._file.path.parent

    @property
    def waiting(self) -> int:
        """Writers queued now. A batch that holds the store ends when this is not 0."""
        with self._lock:
            return sum(not turn.future.cancelled() for turn in self._turns)

    async def write(self, work: Work[T], *, shares: bool = False) -> T:
        """Run `work` in one transaction; what it raises is raised here and nothing is kept.

        Rows of it that were refused `together` are a reason to run it once more, one by one. What
        is short `shares` its transaction, on SQLite, with others of its kind that wait.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue(Turn(work, future, loop, shares=shares and self._file is not None))
        return await future

    async def read(self, work: Work[T]) -> T:
        """Run `work` on one read-only snapshot."""
        return await asyncio.wrap_future(self._queue_read(work))

    def write_now(self, work: Work[T]) -> T:
        """`write` for synchronous callers: it takes its place in the same queue."""
        future: Future[T] = Future()
        self._queue(Turn(work, future))
        return future.result()

    def read_now(self, work: Work[T]) -> T:
        """`read` for synchronous callers."""
        return self._queue_read(work).result()

    async def tidy(self) -> bool:
        """Empty SQLite's write-ahead log into the file, so that it holds nothing that was deleted.

        In turn with the writes, in milliseconds; False when a reader of something old was in the
        way, and the next time will do. On PostgreSQL there is nothing to do: its log goes round by
        itself, and its rows are the server's autovacuum's.
        """
        if self._file is None:
            return True
        future: Future[bool] = Future()
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            self._writers.give(partial(self._tidy, future))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Take no more work, end what is queued, close the connections."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """`close` for synchronous callers."""
        with self._lock:
            self._closed = True
        self._writers.end()
        self._readers.shutdown(wait=True)
        if self._patience is not None:
            self._patience.close()
        self._read_engine.dispose()
        self._write_engine.dispose()

    def _queue(self, turn: Turn) -> None:
        if getattr(self._inside, "write", False):
            raise RuntimeError("a write inside a write would wait for itself: use its connection")
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            self._turns.append(turn)
            self._writers.give(self._serve)

    def _queue_read(self, work: Work[T]) -> Future[T]:
        with self._lock:
            if self._closed:
                raise StoreClosed("the store is closed")
            return self._readers.submit(contextvars.copy_context().run, self._read, work)

    def _next(self, *, shared: bool = False) -> Turn | None:
        """Whose turn it is, if he still waits; `shared`, if he may be in another's transaction."""
        with self._lock:
            while self._turns and (self._turns[0].shares or not shared):
                turn = self._turns.popleft()
                if not turn.future.cancelled():
                    return turn
        return None

    def _serve(self) -> None:
        """In a writer's thread: the next in turn, and whoever shares his transaction."""
        first = self._next()
        if first is None:
            return  # he went away, or was served with another
        served = [first]
        self._inside.write = True
        try:
            self._check_file(lost=self._save_log)
            try:
                self._transact(served)
            except RefusedTogether:
                first.work = partial(_one_by_one, first.work)
                self._transact(served)
            except Undone:
                for turn in served:
                    self._serve_alone(turn)
        except BaseException as error:
            for turn in served:
                turn.error = error
        finally:
            self._inside.write = False
        tell(served)

    def _serve_alone(self, turn: Turn) -> None:
        try:
            self._transact([turn], most=1)
        except BaseException as error:
            turn.error = error

    def _transact(self, served: list[Turn], *, most: int = SHARED_BY) -> None:
        """One transaction of the first of them, and of others who come to be served with him:
        `most` of them at most."""
        first, begun = served[0], time.perf_counter()
        with self._watched(), self._write_engine.connect() as connection:
            try:
                with connection.begin():
                    first.run(connection)
                    while (
                        first.shares
                        and len(served) < most
                        and time.perf_counter() - begun < SHARED_FOR
                        and (turn := self._next(shared=True))
                    ):
                        served.append(turn)
                        beside(connection, turn)
                    worked = time.perf_counter()
            except BaseException as error:
                if breaks_connection(error):
                    connection.invalidate(error)
                raise
        if self._observe is not None:
            ended = time.perf_counter()
            for turn in served:
                if turn.error is None:
                    waited = max(0.0, begun - turn.since)
                    self._observe(WriteTimes(waited, worked - begun, ended - worked))

    def _tidy(self, future: Future[bool]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            self._check_file(lost=self._save_log)
            future.set_result(self._empty_log())
        except BaseException as error:
            future.set_exception(error)

    def _empty_log(self) -> bool:
        raw = self._write_engine.raw_connection()  # outside of any transaction
        try:
            ask = raw.cursor().execute
            (patience,) = ask("PRAGMA busy_timeout").fetchone()
            ask("PRAGMA busy_timeout=0")  # everybody who writes would wait for a reader's end
            try:
                busy, _, _ = ask("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                ask(f"PRAGMA busy_timeout={patience}")
        finally:
            raw.close()
        return not busy

    def _read(self, work: Work[T]) -> T:
        self._check_file(lost=self._have_log_saved)
        with self._watched(), self._read_engine.connect() as connection:
            try:
                return work(connection)
            except BaseException as error:
                if breaks_connection(error):
                    connection.invalidate(error)
                raise
            finally:
                connection.rollback()

    def _watched(self) -> AbstractContextManager[None]:
        return nullcontext() if self._patience is None else self._patience.watched()

    def _check_file(self, *, lost: Callable[[], object]) -> None:
        """Before each piece of work. `lost` is what to do about a log that was removed. Raises
        StoreGone."""
        if self._file is None:
            return
        if self._file.replaced():
            self._close_connections()
            raise StoreGone("the file of the store was removed or replaced while in use")
        if self._file.log_lost():
            lost()
            raise StoreGone("the write-ahead log of the store was removed or replaced while in use")

    def _save_log(self) -> None:
        """In the writer's thread: what was written into a log that was removed goes into the file,
        by the connection that has it open; then all are opened anew, on a new log. A reader who is
        at it is waited for, and everybody is refused until then: beside the new log, what he has
        open would be mixed with it."""
        readers = self._read_engine.pool
        assert isinstance(readers, sa.QueuePool)
        if self._empty_log() and not readers.checkedout():
            self._close_connections()

    def _have_log_saved(self) -> None:
        """The same, from a reader's thread."""
        self._queue(Turn(lambda _connection: None, Future()))

    def _close_connections(self) -> None:
        assert self._file is not None
        self._file.forget()
        self._read_engine.dispose()
        self._write_engine.dispose()


def _one_by_one(work: Work[T], connection: sa.Connection) -> T:
    with one_by_one(connection):
        return work(connection)


def migration_engine(url: str) -> sa.Engine:
    """An engine of one connection that changes the schema; dispose of it at the end.

    SQLite changes a table by making it anew, so foreign keys are not watched meanwhile.
    """
    address = database_address(url)
    if address.get_backend_name() == "sqlite":
        file = SqliteFile(Path(str(address.database)))
        return file.engine(STATEMENT_TIMEOUT_MS, write=True, foreign_keys=False)
    return _postgresql_engine(address, write=True, size=1)


@contextmanager
def alone(connection: sa.Connection) -> Iterator[None]:
    """What is asked within is ONE statement, which is a transaction by itself: kept as soon as it
    is answered. On PostgreSQL this spares the ways to the server and back for begin and end, of
    which each takes as long as that of the statement. Nothing may have been asked of the connection
    in its transaction before (psycopg's ProgrammingError)."""
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    driver.autocommit = True
    try:
        yield
    finally:
        try:
            driver.autocommit = False
        except connection.dialect.loaded_dbapi.Error:
            connection.invalidate()  # it is lost, or nobody knows what it is at


def limit_transactions(engine: sa.Engine) -> None:
    """Have PostgreSQL end each transaction of this engine after `TRANSACTION_TIMEOUT_MS`."""

    def connected(connection: Any, _record: object) -> None:
        if connection.info.server_version >= _ENDS_TRANSACTIONS:
            connection.autocommit = True
            connection.execute(f"SET transaction_timeout = {TRANSACTION_TIMEOUT_MS}")
            connection.autocommit = False

    event.listen(engine, "connect", connected)


_ENDS_TRANSACTIONS = 17_00_00


def ask_what_rested(engine: sa.Engine) -> None:
    """Have a connection that was not used for `RESTED` seconds answer before it is: a server that
    was started again meanwhile costs nobody a request. (SQLAlchemy's own asks each time.)"""

    def back(_connection: Any, record: Any) -> None:
        record.info["back"] = time.monotonic()

    def out(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info.get("back", time.monotonic()) > RESTED:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.OperationalError as error:
                raise sa.exc.DisconnectionError(str(error)) from error

    event.listen(engine, "checkin", back)
    event.listen(engine, "checkout", out)


def database_address(url: str) -> sa.URL:
    """The address in a database setting. Raises ValueError with a sentence that fits a person."""
    try:
        address = sa.make_url(url)
        backend = address.get_backend_name()
    except sa.exc.ArgumentError:
        raise ValueError("it is no database address") from None
    if backend == "postgres":
        address = address.set(drivername="postgresql")
        backend = "postgresql"
    if backend not in ("sqlite", "postgresql"):
        raise ValueError("it must begin with sqlite:/// or postgresql://")
    if backend == "sqlite" and address.database in (None, "", ":memory:"):
        raise ValueError("a SQLite store needs a file: sqlite:////folder/file.db")
    return address


def _postgresql_engine(address: sa.URL, *, write: bool, size: int) -> sa.Engine:
    settings = {
        "timezone": "UTC",
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
    }
    if write:
        settings["synchronous_commit"] = "on"
    else:
        settings["default_transaction_read_only"] = "on"
        settings["default_transaction_isolation"] = r"repeatable\ read"
    engine = sa.create_engine(
        address,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "tcp_user_timeout": 60_000,
        },
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,
        json_serializer=json_text,
        json_deserializer=from_json,
    )
    if write:
        ends_through_wire(engine)
    return engine
