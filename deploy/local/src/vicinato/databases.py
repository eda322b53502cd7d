"""The services' databases: on PostgreSQL one with a role for each, on SQLite a file for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import psycopg
import sqlalchemy as sa
from psycopg import sql

from runtime import migrations

T = TypeVar("T")

GROUP = "vicinato.services"
START_WITHIN = 30.0


def create(server: str, urls: Mapping[str, str]) -> None:
    """Roles and databases that are not there yet, with the passwords of `urls`; others cannot even
    connect to a service's database. Waits for a server that is still starting."""
    with connect(server) as connection:
        for url in urls.values():
            parts = urlsplit(url)
            role = sql.Identifier(unquote(parts.username or ""))
            secret = sql.Literal(unquote(parts.password or ""))
            database = parts.path.removeprefix("/")
            if not _exists(connection, "pg_roles", "rolname", parts.username or ""):
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, secret))
            if not _exists(connection, "pg_database", "datname", database):
                made = sql.Identifier(database)
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(made, role))
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(made))


def connect(server: str) -> psycopg.Connection[tuple[object, ...]]:
    """As the administrator, once the server takes part. Raises psycopg.OperationalError."""
    return _patiently(partial(psycopg.connect, server, autocommit=True, connect_timeout=5))


def _patiently(work: Callable[[], T], *, answers: bool = False) -> T:
    """A server that is still starting, or recovers from a kill, listens before it takes part; and
    others may have all its connections for a moment. `answers`: it is there, or not waited for."""
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            return work()
        except (psycopg.OperationalError, sa.exc.OperationalError) as error:
            away = isinstance(getattr(error, "orig", error), psycopg.OperationalError)
            refused = "authentication" in str(error) or "does not exist" in str(error)
            silent = answers and "FATAL" not in str(error)
            if refused or silent or not away or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _exists(
    connection: psycopg.Connection[tuple[object, ...]], table: str, column: str, name: str
) -> bool:
    query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    return connection.execute(query, (name,)).fetchone() is not None


def migrate(urls: Mapping[str, str]) -> bool:
    """Brings every installed service's schema up; True when none of them had one before. A service
    whose schema is as it should be is not even imported."""
    fresh = True
    services = {point.name: point for point in entry_points(group=GROUP)}
    for name, url in urls.items():
        at = _patiently(partial(migrations.current, url), answers=True)
        fresh = at is None and fresh
        package = services[name].module.partition(".")[0]
        if [at] == list(migrations.heads(package)):
            continue
        upgrade = partial(migrations.upgrade, url, package, services[name].load().metadata)
        _patiently(upgrade, answers=True)
    return fresh
