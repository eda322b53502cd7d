"""A store is locked by somebody else, loses its connections, or has no room left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from chaos.faults.patience import patiently
from chaos.faults.site import Site
from chaos.plan import Fault
from vicinato.programs import server_url
from vicinato.programs.service import name_in_database

BLOCK = bytes(64 * 1024)
LOCKED = "LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"
"""One table alone: two could deadlock with whoever takes them in the other order."""


async def locked(site: Site, fault: Fault) -> None:
    """Another process holds the write lock of a store."""
    async with site.alone(f"store {fault.target}"):
        if site.engine == "sqlite":
            path = site.folder.stores / f"{fault.target}.db"
            await asyncio.to_thread(_hold_file, path, fault.seconds)
        else:
            # A server that another fault brings down meanwhile lets go of the lock by itself.
            with suppress(psycopg.OperationalError):
                await asyncio.to_thread(_hold_tables, site, fault.target, fault.seconds)


def _hold_file(path: Path, seconds: float) -> None:
    """From when it can be had: there may be no room just now, or who holds it may be frozen."""
    with closing(patiently(partial(_write_locked, path))) as connection:
        time.sleep(seconds)
        connection.execute("ROLLBACK")


def _write_locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)
    connection.isolation_level = None
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _hold_tables(site: Site, name: str, seconds: float) -> None:
    with administration(site, name) as connection, connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '30s'")
        connection.execute(LOCKED)
        time.sleep(seconds)


async def vacuumed(site: Site, fault: Fault) -> None:
    """Somebody has a store written anew, without its holes."""
    async with site.alone(f"store {fault.target}"):
        write = _vacuum_file if site.engine == "sqlite" else _vacuum_database
        await asyncio.to_thread(patiently, partial(write, site, fault.target))


def _vacuum_file(site: Site, name: str) -> None:
    path = site.folder.stores / f"{name}.db"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("VACUUM")


def _vacuum_database(site: Site, name: str) -> None:
    with _connected(_server(site, name_in_database(name))) as connection:
        connection.execute("VACUUM FULL")


async def connections_taken(site: Site, fault: Fault) -> None:
    """Somebody has all connections that the server gives, and new ones are refused."""
    async with site.alone("connections"):
        taken: list[psycopg.Connection] = []
        try:
            await asyncio.to_thread(_take_all, site, taken)
            site.say(f"{len(taken)} connections taken")
            await asyncio.sleep(fault.seconds)
        finally:
            for one in taken:
                await asyncio.to_thread(one.close)


def _take_all(site: Site, taken: list[psycopg.Connection]) -> None:
    with suppress(psycopg.OperationalError):
        while True:
            taken.append(_connected(_server(site)))


async def read_only(site: Site, fault: Fault) -> None:
    """A database takes no change, as on a server that stands by for another."""
    async with site.alone(f"store {fault.target}"):
        name = sql.Identifier(name_in_database(fault.target))
        turn = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        try:
            await asyncio.to_thread(_said, site, turn.format(name, sql.SQL("on")))
            await asyncio.to_thread(end_sessions, site, fault.target)
            await asyncio.sleep(fault.seconds)
        finally:
            await asyncio.to_thread(_said, site, turn.format(name, sql.SQL("off")))
            await asyncio.to_thread(end_sessions, site, fault.target)


def _said(site: Site, words: sql.Composed) -> None:
    """To the server, when it is there."""

    def say() -> None:
        with _connected(_server(site)) as connection:
            connection.execute(words)

    patiently(say)


async def terminated(site: Site, fault: Fault) -> None:
    """The administrator of PostgreSQL ends all sessions of a service."""
    async with site.alone(f"store {fault.target}"):
        await asyncio.to_thread(end_sessions, site, fault.target)


def end_sessions(site: Site, name: str) -> None:
    """All connections to the database of a service are gone."""
    patiently(partial(_sessions_ended, _server(site), name_in_database(name)))


def _sessions_ended(url: str, database: str) -> None:
    with _connected(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()",
            (database,),
        )


@contextmanager
def administration(site: Site, name: str = "") -> Iterator[psycopg.Connection]:
    """The server of the house as its administrator; in a service's database."""
    url = _server(site, name_in_database(name) if name else "")
    with patiently(partial(_connected, url)) as connection:
        yield connection


def _server(site: Site, database: str = "") -> str:
    """Past the proxy."""
    parts = urlsplit(server_url(site.house.settings, site.folder.secrets))
    path = f"/{database}" if database else parts.path
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _connected(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, connect_timeout=30)


async def disk_full(site: Site, fault: Fault) -> None:
    """No room where the stores are: on a small file system of their own where we may make one, else
    by a limit on the size of the files that a process may write."""
    async with site.alone("disk"):
        if site.small_disk:
            await _filled(site.folder.stores / "filler", fault.seconds)
        else:
            name = fault.target if site.engine == "sqlite" else "postgresql"
            await limited(site, name, fault.seconds)


async def kafka_disk_full(site: Site, fault: Fault) -> None:
    """Kafka may write no byte more: it gives up, and is started again."""
    async with site.alone("kafka"):
        await limited(site, "kafka", fault.seconds)
        await site.kafka_answers()


async def _filled(path: Path, seconds: float) -> None:
    try:
        await asyncio.to_thread(_fill, path)
        await asyncio.sleep(seconds)
    finally:
        path.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(BLOCK)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


async def limited(site: Site, name: str, seconds: float) -> None:
    """No file may grow beyond a few bytes, for a process and its children."""
    process = await site.process(name)
    _may_write(process, "4096")
    await asyncio.sleep(seconds)
    # Those that were born meanwhile have the limit too.
    _may_write(process, "unlimited")


def _may_write(process: psutil.Process, most: str) -> None:
    """Set the largest size of a file for a process and its children, as the user who runs them:
    the soft limit of somebody else is not root's to change everywhere."""
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                subprocess.run(
                    ["prlimit", f"--pid={one.pid}", f"--fsize={most}:"],
                    user=one.uids().effective if os.getuid() == 0 else None,
                    group=one.gids().effective if os.getuid() == 0 else None,
                    check=False,
                )
