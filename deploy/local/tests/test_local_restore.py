"""A restore that is broken off and begun again, and how it ends."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from messaging import restoring
from messaging.catalogue import services
from messaging.tables import write_meta
from runtime.ids import derived
from runtime.store import Store
from vicinato import first_start, settings
from vicinato.backup import staging
from vicinato.backup.archive import Backup, BadBackupError
from vicinato.backup.copies import Brought
from vicinato.backup.finish import Finished, finish
from vicinato.backup.put_back import go_on, put_back
from vicinato.backup.staging import Journal, Target
from vicinato.backup.take import Order, take
from vicinato.folder import Folder
from vicinato.refusals import Exit
from vicinato.settings import SERVICES

from .installation import run, staged, taken, tell, urls_of

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
    target = Target(machine, urls_of(machine))
    kept = Backup(backup)
    staged(kept, target, SERVICES, new_machine=True, machine=machine.machine())
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


# what cannot be staged


@pytest.mark.usefixtures("elsewhere")
def test_a_store_that_cannot_be_brought_to_this_version_is_not_one_of_a_newer(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(folder.stores / "cards.db", isolation_level=None)) as store:
        store.execute("INSERT INTO consent VALUES ('nobody', 'registration', '2026-11-30', NULL)")
    path = taken(folder, tmp_path / "b")
    refusal = run(folder, monkeypatch, "restore", str(path))
    assert refusal.code is Exit.MIGRATION
    assert "breaks references" in refusal.english
    assert Backup(path).manifest.product in refusal.english


# how it ends


def put(target: Target, backup: Path, names: Sequence[str] = SERVICES, **more: Any) -> Journal:
    """Staged and exchanged; the services are still to recover."""
    journal = staged(Backup(backup), target, names, **more)
    staging.put(target, journal)
    return journal


def told(target: Target, service: str, *events: str) -> None:
    """Facts that the service acknowledged."""
    store = Store(target.urls[service])
    for event in events:
        store.write_now(lambda c, e=event: tell(c, e))  # type: ignore[misc]
    store.close_now()


def recover(target: Target, *names: str) -> None:
    """As these services do once they have all back that the bus knows."""
    for name in names:
        store = Store(target.urls[name])
        store.write_now(lambda c: write_meta(c, restoring.FOUND, '{"events": {"t": 1}}'))
        store.write_now(lambda c: write_meta(c, restoring.READY, "yes"))
        store.close_now()


def marked(target: Target) -> set[str]:
    """The services that do not open."""
    return _with(target, restoring.read)


def recovered(target: Target) -> set[str]:
    """The services that have all back."""
    return _with(target, restoring.recovered)


def _with(target: Target, note: Callable[[sa.Connection], object | None]) -> set[str]:
    """The services whose stores have this note of a restore."""
    found = set()
    for name, url in target.urls.items():
        store = Store(url)
        if store.read_now(note) is not None:
            found.add(name)
        store.close_now()
    return found


def ended(target: Target, **more: Any) -> Finished:
    """The end of the restore, which must come at once: all services have recovered."""
    patience = time.monotonic() + 20
    done = finish(target, None, stopped=lambda: time.monotonic() > patience, **more)
    assert done is not None, "it goes on for ever"
    return done


def everything(target: Target, path: Path) -> Path:
    """A backup of a whole house."""
    take(target.folder, Order(target.urls, path, False, ""))
    return path


def test_one_store_restored_within_an_unfinished_restore_ends_with_the_others(
    house: Target, tmp_path: Path
) -> None:
    told(house, "cards", "early")
    backup = everything(house, tmp_path / "b")
    told(house, "cards", "lost of cards")
    told(house, "shop", "lost of the shop")
    first = put(house, backup)
    second = put(house, backup, ["cards"])
    assert marked(house) == set(SERVICES)
    recover(house, *SERVICES)
    done = ended(house)
    assert marked(house) == set(), "all of them open"
    assert staging.journal_of(house.folder) is None
    text = "\n".join(done.lines)
    for fact in ("lost of cards", "lost of the shop"):
        assert fact in text, "it is in a store that the first restore put aside"
    assert "early" not in text
    assert first.stamp in text
    assert second.stamp in text


def test_what_was_recovered_in_an_earlier_restore_counts_no_more(
    house: Target, tmp_path: Path
) -> None:
    """A backup that was made in the middle of a restore brings along what that one noted."""
    put(house, everything(house, tmp_path / "b"))
    recover(house, *SERVICES)
    put(house, everything(house, tmp_path / "in the middle"))
    assert recovered(house) == set()


def test_a_report_names_the_old_stores_that_there_are(folder: Folder, tmp_path: Path) -> None:
    """A machine that was empty has none of the first time; a second restore puts aside its own."""
    house = Target(folder, urls_of(folder))
    backup = everything(house, tmp_path / "b")
    first = put(house, backup)
    shutil.rmtree(folder.aside / first.stamp)
    second = put(house, backup)
    recover(house, *SERVICES)
    text = "\n".join(ended(house).lines)
    assert "are not there or cannot be read" in text
    assert f"aside/{second.stamp} for" in text
    assert first.stamp not in text


def test_a_report_counts_as_gone_only_what_the_second_copy_has_not(
    folder: Folder, tmp_path: Path
) -> None:
    house = Target(folder, urls_of(folder))
    backup = everything(house, tmp_path / "b")
    for more, reached, damaged in (
        ({}, "and had not reached the bus is gone", 0),
        ({"bring": lambda *_: Brought(0, 3)}, "neither the bus nor the second copy", len(SERVICES)),
    ):
        journal = put(house, backup, **more)
        shutil.rmtree(folder.aside / journal.stamp)
        recover(house, *SERVICES)
        lines = ended(house).lines
        assert reached in "\n".join(lines)
        assert sum(line.endswith(": 3 lines") for line in lines) == damaged


def test_a_restore_that_fails_within_an_unfinished_one_leaves_that_to_be_ended(
    house: Target, tmp_path: Path
) -> None:
    backup = everything(house, tmp_path / "b")
    put(house, backup)
    broken = Backup(backup)
    broken.manifest.stores["shop"].part = "manifest.json"
    with pytest.raises(BadBackupError):
        staged(broken, house, ["cards", "shop"])
    recover(house, *SERVICES)
    ended(house)
    assert marked(house) == set()


def test_an_end_that_is_broken_off_between_two_services_is_ended_with_the_same_report(
    house: Target, tmp_path: Path
) -> None:
    put(house, everything(house, tmp_path / "b"))
    recover(house, *SERVICES)

    def off(what: str) -> None:
        if what == "opening":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ended(house, say=off)
    assert marked(house) == set(SERVICES), "nothing opens before the report is written"
    (report,) = house.folder.aside.glob("*/report.txt")
    assert "cards: 1 t" in report.read_text()
    lifted(house, "cards")  # and killed behind it
    done = ended(house)
    assert "\n".join(done.lines) + "\n" == report.read_text()
    assert marked(house) == set()
    assert not house.folder.restore.exists()


def lifted(target: Target, service: str) -> None:
    """The service has opened."""
    store = Store(target.urls[service])
    store.write_now(restoring.lift)
    store.close_now()


def test_a_store_that_has_opened_is_not_waited_for(house: Target, tmp_path: Path) -> None:
    """As earlier versions left it, which opened before they told."""
    put(house, everything(house, tmp_path / "b"))
    recover(house, *SERVICES)
    lifted(house, "shop")
    ended(house)
    assert marked(house) == set()


def test_a_report_that_cannot_be_written_opens_nothing_and_the_next_time_will_do(
    house: Target, tmp_path: Path
) -> None:
    journal = put(house, everything(house, tmp_path / "b"))
    recover(house, *SERVICES)
    in_the_way = house.folder.aside / journal.stamp / "report.txt"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="report"):
        ended(house)
    assert marked(house) == set(SERVICES)
    in_the_way.rmdir()
    ended(house)
    assert marked(house) == set()


def test_old_stores_that_are_deleted_by_now_do_not_keep_a_restore_from_ending(
    house: Target, tmp_path: Path
) -> None:
    put(house, everything(house, tmp_path / "b"))
    recover(house, *SERVICES)
    shutil.rmtree(house.folder.aside)
    ended(house)
    assert marked(house) == set()
