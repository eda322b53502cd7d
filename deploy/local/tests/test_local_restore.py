"""A restore that is broken off and begun again, and how it ends."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from messaging import restoring
from messaging.catalogue import services
from runtime.ids import derived
from runtime.store import Store
from vicinato import first_start, settings
from vicinato.backup import staging
from vicinato.backup.archive import Backup
from vicinato.backup.put_back import go_on, put_back
from vicinato.folder import Folder
from vicinato.settings import SERVICES

from .installation import taken, urls_of

# who may sign in on another machine


def an_administrator(folder: Folder, email: str = "anna@archè.example") -> None:
    """The first one of an installation, with a password that is known nowhere else."""
    (identity,) = (one for one in services() if one.name == "identity")
    account = identity.metadata.tables["account"]
    row = {
        "id": derived("identity", "first administrator"),
        "email": email,
        "name": "",
        "password_hash": "x",
        "password_chosen": True,
        "roles": ["administrator"],
        "kind": "staff",
        "centre_id": "",
        "household_id": "",
        "organisation_id": "",
        "producer_id": "",
        "language": "it",
        "disabled": False,
        "governs": True,
        "created_at": datetime.now(UTC),
        "changed_at": datetime.now(UTC),
    }
    store = Store(urls_of(folder)["identity"])
    store.write_now(lambda c: c.execute(sa.insert(account).values(**row)))
    store.close_now()


@pytest.fixture
def backup(folder: Folder, tmp_path: Path) -> Path:
    """Of a machine that is lost."""
    an_administrator(folder)
    return taken(folder, tmp_path / "b")


def empty(path: Path) -> tuple[settings.Settings, Folder]:
    """A machine where nothing is."""
    folder = Folder(path)
    folder.open()
    return settings.load({"DATA": str(path)}), folder


def restored(wanted: settings.Settings, folder: Folder, backup: Path) -> None:
    with folder.locked():
        asyncio.run(put_back(wanted, folder, Backup(backup), list(SERVICES)))


def gets_the_password_of_here(folder: Folder) -> bool:
    """Whether identity gives the backup's administrator the password that `make up` shows."""
    store = Store(urls_of(folder)["identity"])
    mark = store.read_now(restoring.read)
    store.close_now()
    assert mark is not None
    shown = json.loads((folder.secrets.folder / first_start.ADMINISTRATOR).read_text())
    assert shown["email"] == "anna@archè.example" or not mark.new_machine
    return mark.new_machine


def test_the_same_restore_again_on_an_empty_machine_knows_that_its_passwords_are_new(
    backup: Path, tmp_path: Path
) -> None:
    wanted, machine = empty(tmp_path / "new")
    restored(wanted, machine, backup)
    assert gets_the_password_of_here(machine)
    shown = first_start.administrator(wanted, machine)
    restored(wanted, machine, backup)  # Ctrl-C while its services recovered
    assert gets_the_password_of_here(machine)
    assert first_start.administrator(wanted, machine) == shown


def test_a_newer_backup_of_the_old_machine_is_known_as_such(
    folder: Folder, backup: Path, tmp_path: Path
) -> None:
    wanted, machine = empty(tmp_path / "new")
    restored(wanted, machine, backup)
    (machine.restore / "journal.json").unlink()  # it has ended
    restored(wanted, machine, taken(folder, tmp_path / "newer"))
    assert gets_the_password_of_here(machine)


def test_a_backup_of_the_machine_itself_keeps_the_passwords_that_are_chosen(
    backup: Path, tmp_path: Path
) -> None:
    wanted, machine = empty(tmp_path / "new")
    restored(wanted, machine, backup)
    (machine.restore / "journal.json").unlink()
    restored(wanted, machine, taken(machine, tmp_path / "its own"))
    assert not gets_the_password_of_here(machine)


def test_secrets_that_came_along_are_those_of_the_backup(folder: Folder, tmp_path: Path) -> None:
    an_administrator(folder)
    first_start.administrator(settings.load({}), folder)
    with_secrets = taken(folder, tmp_path / "b", secrets=True)
    wanted, machine = empty(tmp_path / "new")
    restored(wanted, machine, with_secrets)
    assert not gets_the_password_of_here(machine)
    restored(wanted, machine, with_secrets)
    assert not gets_the_password_of_here(machine)
    assert first_start.administrator(wanted, machine) == first_start.administrator(wanted, folder)


def test_a_new_machine_that_stops_in_the_middle_goes_on_as_one(
    backup: Path, tmp_path: Path
) -> None:
    """Without power once the exchange was written down: the next start does all that is left."""
    wanted, machine = empty(tmp_path / "new")
    target = staging.Target(machine, urls_of(machine))
    kept = Backup(backup)
    journal = staging.stage(
        kept, target, list(SERVICES), new_machine=True, machine=machine.machine()
    )
    staging.begin(machine, journal)
    assert not machine.is_used()
    with machine.locked():
        asyncio.run(go_on(wanted, machine))
    assert machine.installation() == kept.manifest.installation
    assert first_start.read(machine) == {"demonstration": "none"}
    assert gets_the_password_of_here(machine)


def test_one_store_on_an_empty_machine_needs_no_administrator_of_the_backup(
    backup: Path, tmp_path: Path
) -> None:
    wanted, machine = empty(tmp_path / "new")
    with machine.locked():
        asyncio.run(put_back(wanted, machine, Backup(backup), ["cards"]))
    assert [one.name for one in machine.stores.glob("*.db")] == ["cards.db"]
