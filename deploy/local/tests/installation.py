"""An installation of stores alone, for tests of what is done with all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from messaging.catalogue import services
from messaging.tables import outbox
from runtime.store import Store
from runtime.testing import migrated, postgresql_server
from vicinato import cli
from vicinato.backup import staging
from vicinato.backup.archive import Backup
from vicinato.backup.staging import Journal, Target
from vicinato.backup.take import Order, take
from vicinato.databases import create
from vicinato.folder import Folder
from vicinato.programs.service import url_on
from vicinato.refusals import CommandError
from vicinato.settings import SERVICES

PAIR = ("cards", "shop")


def urls_of(folder: Folder, names: tuple[str, ...] = SERVICES) -> dict[str, str]:
    return {name: f"sqlite:///{folder.stores / name}.db" for name in names}


def taken(folder: Folder, path: Path, *, secrets: bool = False) -> Path:
    """A backup of its SQLite stores."""
    take(folder, Order(urls_of(folder), path, secrets, "cluster"))
    return path


def tell(connection: sa.Connection, event_id: str) -> None:
    """One row in the outbox, as if told."""
    row = {
        "id": event_id,
        "topic": "cards.events",
        "key": "k",
        "type": "t",
        "headers": {},
        "body": b"{}",
        "at": datetime.now(UTC),
    }
    connection.execute(sa.insert(outbox).values(**row))


def ids(store: Store) -> set[str]:
    """Of all that was told."""
    return set(store.read_now(lambda c: c.scalars(sa.select(outbox.c.id)).all()))


def staged(backup: Backup, target: Target, names: Sequence[str], **more: Any) -> Journal:
    """The stores of `names` are staged, and their exchange has begun."""
    with staging.place(target):
        journal = staging.stage(backup, target, names, **{"new_machine": False, **more})
        staging.begin(target.folder, journal)
    return journal


@contextmanager
def stores_on(engine: str, folder: Folder, names: tuple[str, ...]) -> Iterator[Target]:
    """Empty stores of these services, and where their restored ones go."""
    if engine == "sqlite":
        target = Target(folder, urls_of(folder, names))
    else:
        server = str(postgresql_server().get_uri())
        run = uuid4().hex[:8]
        target = Target(folder, {n: url_on(server, f"{n}_{run}", "secret") for n in names}, server)
    for service in services():
        if service.name in names:
            migrated(target.urls[service.name], service.package, service.metadata)
    if target.server:
        create(target.server, target.urls)  # the roles; the databases are there
        for url in target.urls.values():
            _handed_over(url)
    yield target
    if target.server:
        _drop_all(target)


def _handed_over(url: str) -> None:
    """A copied database and all in it are the service's own, as if it had made them."""
    name = named_by(url)
    role = sql.Identifier(name)
    with psycopg.connect(postgresql_server().get_uri(database=name)) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {0} OWNER TO {0}").format(role))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in found.fetchall():
            words = sql.SQL("ALTER TABLE {} OWNER TO {}")
            connection.execute(words.format(sql.Identifier(table), role))


def named_by(url: str) -> str:
    """A database, and its role."""
    return urlsplit(url).path.removeprefix("/")


def _drop_all(target: Target) -> None:
    with psycopg.connect(target.server, autocommit=True) as connection:
        for url in target.urls.values():
            name = named_by(url)
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{name}%",)
            ).fetchall()
            for (found,) in rows:
                words = sql.SQL("DROP DATABASE {} WITH (FORCE)")
                connection.execute(words.format(sql.Identifier(found)))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def run(folder: Folder, monkeypatch: pytest.MonkeyPatch, *words: str) -> CommandError:
    """A command that is refused, in two languages."""
    monkeypatch.setenv("DATA", str(folder.root))
    with pytest.raises(CommandError) as refusal:
        cli.run(list(words))
    assert refusal.value.english != refusal.value.italian
    return refusal.value
