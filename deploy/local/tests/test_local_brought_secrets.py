"""The passwords of a backup come into a new folder with its stores, or not at all."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from vicinato import first_start, programs, settings
from vicinato.backup import brought_secrets, staging
from vicinato.backup.archive import Backup
from vicinato.backup.put_back import go_on, put_back
from vicinato.backup.server import database_running
from vicinato.backup.staging import Target
from vicinato.backup.take import Order, take
from vicinato.folder import Folder
from vicinato.ports import free_block
from vicinato.settings import SERVICES

from .installation import PAIR, stores_on, taken, urls_of


class EnoughError(Exception):
    """Whoever waits wants it to end."""


def enough(_done: int) -> None:
    raise EnoughError


@pytest.fixture
def backup(folder: Folder, tmp_path: Path) -> Backup:
    """With its secrets, of a machine that is lost."""
    first_start.administrator(settings.load({}), folder)
    folder.secrets.get("postgresql")
    folder.kafka_secrets.get("admin")
    return Backup(taken(folder, tmp_path / "b", secrets=True))


@pytest.fixture
def machine(tmp_path: Path) -> Folder:
    """Where nothing is."""
    made = Folder(tmp_path / "new")
    made.open()
    return made


def settings_of(folder: Folder) -> settings.Settings:
    return settings.load({"DATA": str(folder.root)})


def secrets(folder: Folder) -> dict[str, str]:
    """All that lie in a data folder."""
    found = (one for one in folder.root.rglob("*") if "secrets" in one.parts and one.is_file())
    return {str(one.relative_to(folder.root)): one.read_text() for one in found}


def test_a_restore_that_fails_leaves_no_password_of_the_old_house(
    backup: Backup, machine: Folder
) -> None:
    with pytest.raises(EnoughError):
        asyncio.run(
            put_back(settings_of(machine), machine, backup, list(SERVICES), progress=enough)
        )
    assert secrets(machine) == {}


def test_nor_does_one_that_was_killed_once_the_next_has_started(
    backup: Backup, machine: Folder
) -> None:
    machine.restore.mkdir()
    (machine.restore / staging.STAGING).touch()
    brought_secrets.stage(backup, machine)
    assert set(secrets(machine)) >= {"restore/secrets/postgresql", "restore/secrets/kafka/admin"}
    asyncio.run(go_on(settings_of(machine), machine))
    assert secrets(machine) == {}


def test_an_exchange_that_was_broken_off_brings_the_passwords_when_it_goes_on(
    backup: Backup, folder: Folder, machine: Folder
) -> None:
    target = Target(machine, urls_of(machine))
    with staging.place(target):
        brought_secrets.stage(backup, machine)
        journal = staging.stage(backup, target, SERVICES, new_machine=False)
        staging.begin(machine, journal)
    asyncio.run(go_on(settings_of(machine), machine))
    assert secrets(machine) == secrets(folder)
    for path in (machine.secrets.folder, *machine.secrets.folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


def test_a_kafka_that_was_made_here_keeps_its_passwords(
    backup: Backup, folder: Folder, machine: Folder
) -> None:
    machine.kafka.mkdir()
    own = machine.kafka_secrets.get("admin")
    asyncio.run(put_back(settings_of(machine), machine, backup, list(SERVICES)))
    assert machine.kafka_secrets.get("admin") == own
    assert machine.secrets.get("postgresql") == folder.secrets.get("postgresql")


@pytest.fixture
def with_a_server(tmp_path: Path) -> Iterator[Backup]:
    """Stores of two services and the secrets of a house with a PostgreSQL of its own."""
    folder = Folder(tmp_path / "pair")
    folder.open()
    with stores_on("postgresql", folder, PAIR) as target:
        for name in ("postgresql", *(f"store-{name}" for name in SERVICES)):
            folder.secrets.get(name)
        take(folder, Order(target.urls, tmp_path / "b", True, ""))
        yield Backup(tmp_path / "b")


@pytest.fixture
def passable() -> Iterator[Folder]:
    """Where nothing is; PostgreSQL has a user of its own where everything else is root."""
    root = Path(tempfile.mkdtemp(prefix="vicinato-brought-"))
    root.chmod(0o711)
    made = Folder(root / "data")
    made.open()
    yield made
    shutil.rmtree(root)


def test_a_server_that_an_earlier_try_has_made_opens_for_the_next(
    with_a_server: Backup, passable: Folder
) -> None:
    """The first was of a backup without secrets; the passwords of services come along."""
    wanted = settings.load(
        {"DATA": str(passable.root), "DATABASE": "postgres", "PORT": str(free_block())}
    )
    with_a_server.manifest.secrets = False
    with pytest.raises(EnoughError):
        asyncio.run(put_back(wanted, passable, with_a_server, list(PAIR), progress=enough))
    own = secrets(passable)
    with_a_server.manifest.secrets = True
    asyncio.run(put_back(wanted, passable, with_a_server, list(PAIR)))

    async def stores() -> set[str]:
        async with database_running(wanted, passable):
            with psycopg.connect(programs.server_url(wanted, passable.secrets)) as connection:
                return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}

    assert asyncio.run(stores()) >= {"vicinato_cards", "vicinato_shop"}
    assert secrets(passable)["secrets/postgresql"] == own["secrets/postgresql"]
    assert secrets(passable)["secrets/store-cards"] != own["secrets/store-cards"]
