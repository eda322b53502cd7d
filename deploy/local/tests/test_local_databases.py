"""A database and a role for each service on PostgreSQL: made once, closed to the others."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from runtime.testing import postgresql_server
from vicinato import databases, programs, settings
from vicinato.backup.server import database_running
from vicinato.databases import GROUP, create, migrate
from vicinato.folder import Folder
from vicinato.ports import free_block
from vicinato.programs.service import url_on


@pytest.fixture
def server() -> str:
    return str(postgresql_server().get_uri())


@pytest.fixture
def urls(server: str) -> Iterator[dict[str, str]]:
    """Of two services, on the tests' own server, with names that nobody else uses."""
    run = uuid.uuid4().hex[:8]
    found = {name: url_on(server, f"{name}_{run}", "secret") for name in ("cards", "shop")}
    yield found
    with psycopg.connect(server, autocommit=True) as connection:
        for url in found.values():
            name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


def test_made_twice_they_are_there_once_and_can_be_used(server: str, urls: dict[str, str]) -> None:
    create(server, urls)
    with psycopg.connect(urls["cards"]) as connection:
        connection.execute("CREATE TABLE kept (one int)")
    create(server, urls)
    with psycopg.connect(urls["cards"]) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_service_cannot_even_connect_to_the_database_of_another(
    server: str, urls: dict[str, str]
) -> None:
    create(server, urls)
    cards, shop = urlsplit(urls["cards"]), urlsplit(urls["shop"])
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(urlunsplit(cards._replace(path=shop.path)))


def test_the_administrators_password_is_in_no_services_url() -> None:
    made = url_on(
        "postgresql://admin:hidden@db.example:5433/postgres?sslmode=require", "cards", "s"
    )
    assert made == ("postgresql://vicinato_cards:s@db.example:5433/vicinato_cards?sslmode=require")


def test_a_server_that_was_killed_takes_part_before_it_is_used() -> None:
    """It listens while it recovers, and refuses everybody."""
    root = Path(tempfile.mkdtemp(prefix="vicinato-killed-"))
    root.chmod(0o711)  # PostgreSQL has a user of its own where everything else is root
    folder = Folder(root / "data")
    folder.open()
    folder.root.chmod(0o711)
    given = {"DATA": str(folder.root), "DATABASE": "postgres", "PORT": str(free_block())}
    wanted = settings.load(given)

    async def used(words: LiteralString) -> None:
        async with database_running(wanted, folder, new=True):
            url = programs.server_url(wanted, folder.secrets)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(words)
            number = (folder.postgres / "postmaster.pid").read_text().splitlines()[0]
            os.kill(int(number), signal.SIGKILL)

    try:
        asyncio.run(used("CREATE TABLE much AS SELECT generate_series(1, 500000) AS n"))
        asyncio.run(used("SELECT count(*) FROM much"))
    finally:
        shutil.rmtree(root)


def test_who_gets_no_connection_just_now_waits_for_one(server: str, urls: dict[str, str]) -> None:
    create(server, urls)
    shop = urls["shop"]
    with psycopg.connect(server, autocommit=True) as connection, ThreadPoolExecutor(1) as pool:
        role = sql.Identifier(urlsplit(shop).username or "")
        connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 3").format(role))
        taken = [psycopg.connect(shop) for _ in range(3)]
        try:
            fresh = pool.submit(migrate, {"shop": shop})
            assert not wait([fresh], timeout=2.0).done
        finally:
            for one in taken:
                one.close()
        assert fresh.result(60)
    assert not migrate({"shop": shop})


def test_a_program_of_the_wheel_is_found_without_a_warning() -> None:
    words = "from vicinato.programs.postgresql import tool; print(tool('pg_dump'))"
    environment = {name: value for name, value in os.environ.items() if "XDG" not in name}
    asked = subprocess.run(
        [sys.executable, "-W", "error", "-c", words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stderr == ""
    assert os.access(asked.stdout.strip(), os.X_OK)


def test_a_service_whose_schema_is_as_it_should_be_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its revisions say that nothing is to be done; a command would wait for its libraries."""
    there = entry_points(group=GROUP)
    assert {one.module.partition(".")[0] for one in there} == {one.load().package for one in there}
    kept = {"cards": f"sqlite:///{tmp_path / 'cards.db'}"}
    assert migrate(kept)
    nowhere = EntryPoint("cards", "cards.nowhere:SERVICE", GROUP)
    monkeypatch.setattr(databases, "entry_points", lambda group: [nowhere])
    assert not migrate(kept)
    with pytest.raises(ModuleNotFoundError):
        migrate({"cards": f"sqlite:///{tmp_path / 'another.db'}"})
