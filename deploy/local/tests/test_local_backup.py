"""The file of a backup, the one moment of all stores, and what cannot be put back."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import Event
from contracts.cards import HouseholdRegistered
from contracts.people import PersonDescribed, PersonErased
from messaging import marks, restoring
from messaging.envelope import body_of, headers_for
from messaging.tables import inbox, outbox
from messaging.testing import count_as_sent
from runtime.store import Store
from vicinato import steps
from vicinato.backup import aside, copies, staging
from vicinato.backup.archive import Backup, BadBackupError
from vicinato.backup.moment import StoreAwayError, moment
from vicinato.backup.staging import Target
from vicinato.backup.take import Order, take
from vicinato.commands.restore import SPARE
from vicinato.folder import MARKER, Folder
from vicinato.ports import free_block, free_port
from vicinato.refusals import Exit
from vicinato.settings import SERVICES

from .installation import PAIR, ids, run, staged, taken, tell, urls_of


def hear(connection: sa.Connection, event_id: str) -> None:
    """One row in the inbox, as if settled."""
    connection.execute(sa.insert(inbox).values(event_id=event_id, source="cards.events"))


# the moment


def chatter(target: Target) -> tuple[threading.Event, threading.Thread, list[float]]:
    """One store tells, the other settles what was told, as fast as they can; every write's time."""
    teller, hearer = (Store(target.urls[name]) for name in PAIR)
    stop, took = threading.Event(), list[float]()

    def run() -> None:
        while not stop.is_set():
            event_id = str(uuid.uuid4())
            began = time.monotonic()
            teller.write_now(lambda c, e=event_id: tell(c, e))  # type: ignore[misc]
            hearer.write_now(lambda c, e=event_id: hear(c, e))  # type: ignore[misc]
            took.append(time.monotonic() - began)
        teller.close_now()
        hearer.close_now()

    thread = threading.Thread(target=run)
    thread.start()
    return stop, thread, took


def test_no_store_knows_of_a_fact_that_its_teller_does_not_have(pair: Target) -> None:
    stop, thread, took = chatter(pair)
    try:
        for _ in range(5):
            with moment(pair.urls) as caught:
                time.sleep(0.02)  # writers go on while the snapshots are open
                told, heard = (
                    {row[0] for row in one.query(words)}
                    for one, words in zip(
                        caught.snapshots,
                        ("SELECT id FROM outbox", "SELECT event_id FROM inbox"),
                        strict=True,
                    )
                )
                assert heard <= told
                assert len(told - heard) <= 1
                assert caught.held_ms < 1000
                time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
    assert took, "writers went on"


def test_what_was_taken_comes_back_and_the_old_lies_aside(pair: Target, tmp_path: Path) -> None:
    store = Store(pair.urls["cards"])
    store.write_now(lambda c: tell(c, "before"))
    manifest = take(pair.folder, Order(pair.urls, tmp_path / "b", False, ""))
    assert set(manifest.stores) == set(PAIR)
    assert manifest.stores["cards"].unsent == 1
    store.write_now(lambda c: tell(c, "after"))
    store.close_now()

    journal = staged(Backup(tmp_path / "b"), pair, PAIR)
    store = Store(pair.urls["cards"])
    assert ids(store) == {"before", "after"}, "nothing is changed while it is staged"
    store.close_now()
    staging.put(pair, journal)
    staging.put(pair, journal)  # as after a kill at its very end
    assert staging.journal_of(pair.folder).phase == "put"  # type: ignore[union-attr]
    store = Store(pair.urls["cards"])
    assert ids(store) == {"before"}
    mark = store.read_now(restoring.read)
    assert mark is not None
    assert (mark.backup, mark.last_row) == (manifest.id, 1)
    store.close_now()

    there = pair.folder.aside / journal.stamp
    assert there.is_dir()
    assert aside.old(pair.folder, datetime.now(UTC)) == []
    later = datetime.now(UTC) + timedelta(days=aside.KEPT_DAYS, hours=1)
    assert aside.old(pair.folder, later) == [journal.stamp]
    aside.forget(pair.folder, pair.server, [journal.stamp])
    assert not there.exists()


def test_an_exchange_that_was_broken_off_goes_on(folder: Folder, tmp_path: Path) -> None:
    path = taken(folder, tmp_path / "b")
    target = Target(folder, urls_of(folder))
    journal = staged(Backup(path), target, SERVICES)
    # Killed between the old store's removal and the new one's arrival.
    (folder.stores / "cards.db").rename(folder.aside / journal.stamp / "cards.db")
    staging.put(target, journal)
    for name in SERVICES:
        assert (folder.stores / f"{name}.db").exists()
        assert (folder.aside / journal.stamp / f"{name}.db").exists()


# the file


def test_a_backup_is_for_its_owner_and_has_no_passwords(folder: Folder, tmp_path: Path) -> None:
    secret = folder.kafka_secrets.get("cards")
    path = taken(folder, tmp_path / "b")
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret.encode() not in path.read_bytes()
    with_them = taken(folder, tmp_path / "with", secrets=True)
    assert with_them.stat().st_mode & 0o777 == 0o600
    assert Backup(with_them).manifest.secrets


def test_a_backup_that_fails_leaves_nothing(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vicinato.backup.archive.Measured.write", full)
    out = tmp_path / "out"
    out.mkdir()
    refusal = run(folder, monkeypatch, "backup", str(out / "b"))
    assert refusal.code is Exit.NO_SPACE
    assert list(out.iterdir()) == []


def test_where_a_backup_must_not_go(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = run(folder, monkeypatch, "backup", str(folder.root / "b"))
    assert inside.code is Exit.SETTING
    (tmp_path / "there").write_text("mine")
    there = run(folder, monkeypatch, "backup", str(tmp_path / "there"))
    assert there.code is Exit.REFUSED
    assert (tmp_path / "there").read_text() == "mine"
    nowhere = run(folder, monkeypatch, "backup", str(tmp_path / "no" / "b"))
    assert nowhere.code is Exit.READ_ONLY_FOLDER
    nothing = run(Folder(tmp_path / "none"), monkeypatch, "backup", str(tmp_path / "b"))
    assert nothing.code is Exit.NOT_RUNNING
    assert not (tmp_path / "none").exists()


def test_a_server_that_does_not_answer_is_said_to_be_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = Folder(tmp_path / "data")
    used.open()
    monkeypatch.setenv("DATABASE", f"postgresql://a:b@127.0.0.1:{free_port()}/postgres")
    refusal = run(used, monkeypatch, "backup", str(tmp_path / "b"))
    assert refusal.code is Exit.DATABASE
    assert "does not answer" in refusal.english
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# what cannot be put back


def state(folder: Folder) -> dict[str, bytes]:
    """Every file of a data folder."""
    return {str(p): p.read_bytes() for p in sorted(folder.root.rglob("*")) if p.is_file()}


def changed(path: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same backup with another manifest, without its sum as in earlier versions."""
    with tarfile.open(path) as old, tarfile.open(to, "w") as new:
        for member in old.getmembers():
            source = old.extractfile(member)
            assert source is not None
            data = source.read()
            if member.name == "manifest.json":
                told = json.loads(data)
                told.pop("sum")
                change(told)
                data = json.dumps(told).encode()
            member.size = len(data)
            scratch = to.with_suffix(".part")
            scratch.write_bytes(data)
            with scratch.open("rb") as file:
                new.addfile(member, file)
            scratch.unlink()
    return to


def newer_schema(told: dict[str, Any]) -> None:
    told["stores"]["cards"]["revision"] = "9999"


def with_one_more_store(told: dict[str, Any]) -> None:
    told["stores"]["kitchen"] = told["stores"]["cards"]


def of_long_ago(told: dict[str, Any]) -> None:
    told["taken_at"] = "2026-01-01T00:00:00Z"


CHANGES: list[tuple[Callable[[dict[str, Any]], None], Exit, str]] = [
    (lambda told: told.update(format=99), Exit.NEWER_DATA, "99"),
    (newer_schema, Exit.NEWER_DATA, "9999"),
    (lambda told: told.update(installation="x"), Exit.OTHER_INSTALLATION, "another installation"),
    (lambda told: told.update(engine="postgresql"), Exit.REFUSED, "postgresql"),
    (of_long_ago, Exit.REFUSED, "--older"),
    (lambda told: told.pop("stores"), Exit.BAD_BACKUP, "manifest"),
    (lambda told: told["parts"].pop(), Exit.BAD_BACKUP, "manifest"),
    (with_one_more_store, Exit.NEWER_DATA, "kitchen"),
]


@pytest.mark.parametrize(("change", "code", "word"), CHANGES)
def test_a_backup_that_does_not_fit_changes_nothing(
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], None],
    code: Exit,
    word: str,
) -> None:
    path = changed(taken(folder, tmp_path / "good"), tmp_path / "b", change)
    before = state(folder)
    refusal = run(folder, monkeypatch, "restore", str(path))
    assert refusal.code is code
    assert word in refusal.english
    assert state(folder) == before


@pytest.mark.usefixtures("elsewhere")
def test_a_database_server_that_does_not_answer_is_told(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_a_server(told: dict[str, Any]) -> None:
        told["engine"] = "postgresql"

    path = changed(taken(folder, tmp_path / "good"), tmp_path / "b", of_a_server)
    monkeypatch.setenv("DATABASE", "postgresql://nobody:x@127.0.0.1:9/postgres")
    monkeypatch.setattr("vicinato.databases.START_WITHIN", 0.0)
    assert run(folder, monkeypatch, "restore", str(path)).code is Exit.DATABASE
    assert not folder.aside.exists()


def test_a_damaged_file_and_one_that_is_no_backup_change_nothing(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = taken(folder, tmp_path / "good")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    kinds = {
        "flipped": bytes(flipped),
        "cut": whole[: len(whole) // 2],
        "text": b"dear diary\n" * 200,
        "empty": b"",
    }
    before = state(folder)
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data)
        refusal = run(folder, monkeypatch, "restore", str(tmp_path / name))
        assert refusal.code is Exit.BAD_BACKUP, name
    assert run(folder, monkeypatch, "restore", str(tmp_path / "none")).code is Exit.BAD_BACKUP
    assert run(folder, monkeypatch, "restore", str(tmp_path)).code is Exit.BAD_BACKUP
    assert state(folder) == before


def test_no_byte_of_what_a_backup_says_of_itself_can_be_another(
    folder: Folder, tmp_path: Path
) -> None:
    whole = taken(folder, tmp_path / "good").read_bytes()
    begin = whole.index(b'{\n "format"')
    end = whole.index(b"\0", begin)
    meant = Backup(tmp_path / "good").manifest
    bad = tmp_path / "bad"
    for place in range(begin, end):
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = Backup(bad).manifest
        except BadBackupError:
            continue
        assert found.model_copy(update={"sum": meant.sum}) == meant, whole[place - 20 : place + 5]


def test_a_store_that_is_damaged_inside_is_found_before_anything_is_changed(
    folder: Folder, tmp_path: Path
) -> None:
    (folder.stores / "cards.db").write_bytes(b"SQLite format 3\0" + b"x" * 8192)
    with pytest.raises(StoreAwayError, match="cards"):
        taken(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_restore_needs_vicinato_stopped_space_and_a_folder_that_is_ours(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(taken(folder, tmp_path / "good"))
    before = state(folder)
    with folder.locked():
        assert run(folder, monkeypatch, "restore", path).code is Exit.SECOND_COPY
    assert run(folder, monkeypatch, "restore", path, "--only", "bar").code is Exit.SETTING
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("vicinato.commands.restore.shutil.disk_usage", lambda _: usage)
    assert run(folder, monkeypatch, "restore", path).code is Exit.NO_SPACE
    monkeypatch.undo()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "photos").write_text("x")
    assert run(Folder(foreign), monkeypatch, "restore", path).code is Exit.FOREIGN_FOLDER
    device = run(Folder(Path("/dev/null/data")), monkeypatch, "restore", path)
    assert device.code is Exit.READ_ONLY_FOLDER
    assert {k: v for k, v in state(folder).items() if "lock" not in k} == {
        k: v for k, v in before.items() if "lock" not in k
    }


def test_a_store_that_is_to_be_migrated_needs_its_place_twice(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_an_earlier_version(told: dict[str, Any]) -> None:
        told["stores"]["cards"]["revision"] = "0001"

    path = taken(folder, tmp_path / "good")
    earlier = changed(path, tmp_path / "earlier", of_an_earlier_version)
    manifest = Backup(path).manifest
    needed = SPARE + sum(manifest.part(one.part).whole for one in manifest.stores.values())
    usage = shutil.disk_usage(tmp_path)._replace(free=needed)
    monkeypatch.setattr("vicinato.commands.restore.shutil.disk_usage", lambda _: usage)
    with folder.locked():
        assert run(folder, monkeypatch, "restore", str(path)).code is Exit.SECOND_COPY
        assert run(folder, monkeypatch, "restore", str(earlier)).code is Exit.NO_SPACE


def test_an_installation_has_an_id_of_its_own(tmp_path: Path) -> None:
    first, second = Folder(tmp_path / "a"), Folder(tmp_path / "b")
    first.open()
    second.open()
    assert first.installation() != second.installation()
    known = first.installation()
    first.open()
    assert first.installation() == known
    (first.root / MARKER).write_text('{"format": 1}')  # as older versions wrote it
    first.open()
    assert first.installation()


def test_a_part_that_is_no_store_is_not_put_back(folder: Folder, tmp_path: Path) -> None:
    path = taken(folder, tmp_path / "good")
    with closing(sqlite3.connect(folder.stores / "cards.db")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    backup = Backup(path)
    backup.manifest.stores["cards"].part = "manifest.json"
    with pytest.raises(BadBackupError, match="cannot be unpacked"):
        staged(backup, Target(folder, urls_of(folder)), ["cards"])


# the second copy of the outboxes


def told_in(store: Store, event: Event, event_id: str, *, sent: bool = False) -> None:
    """A fact of cards in its outbox."""

    def work(connection: sa.Connection) -> None:
        now = datetime.now(UTC)
        headers = headers_for(
            event, event_id=event_id, source="/cards", time=now, correlation="c", centre="c1"
        )
        row = {
            "id": event_id,
            "topic": event.TOPIC,
            "key": event.key,
            "type": event.ce_type(),
            "headers": headers,
            "body": body_of(event),
            "at": now,
        }
        connection.execute(sa.insert(outbox).values(**row))
        if sent:
            count_as_sent(connection)

    store.write_now(work)


def registered(household: str) -> HouseholdRegistered:
    return HouseholdRegistered(
        household_id=household,
        centre_id="c1",
        holder_id="p",
        zone="Satta",
        person_ids=("p",),
        registered_at=datetime.now(UTC),
    )


def described(person: str) -> PersonDescribed:
    return PersonDescribed(
        person_id=person,
        household_id="h1",
        centre_id="c1",
        revision=1,
        given_name="Zuzzurellona",
        family_name="Prova",
        described_at=datetime.now(UTC),
    )


def test_facts_that_reached_neither_backup_nor_bus_come_from_the_copy(
    pair: Target, tmp_path: Path
) -> None:
    copies_at = tmp_path / "usb"
    copies_at.mkdir()
    url = pair.urls["cards"]
    store = Store(url)
    told_in(store, registered("h1"), "e1", sent=True)
    assert copies.copy("cards", url, copies_at) == 1
    take(pair.folder, Order(pair.urls, tmp_path / "b", False, ""))
    told_in(store, registered("h2"), "e2")
    told_in(store, described("p2"), "e3")
    assert copies.copy("cards", url, copies_at) == 2
    assert copies.copy("cards", url, copies_at) == 0
    (file,) = copies_at.iterdir()
    with file.open("ab") as cut:  # a loss of power in the middle of a line
        cut.write(b'{"row": 9, "id"')
    told_in(store, registered("h3"), "e4")
    assert copies.copy("cards", url, copies_at) == 1
    store.close_now()

    journal = staged(
        Backup(tmp_path / "b"),
        pair,
        ["cards"],
        new_machine=True,
        bring=lambda name, at: copies.bring(name, at, copies_at),
    )
    assert journal.copied == {"cards": 3}
    staging.put(pair, journal)
    store = Store(url)
    assert ids(store) == {"e1", "e2", "e3", "e4"}
    unsent = store.read_now(lambda c: marks.unsent(c, (), 10))
    assert {row.id for row in unsent} == {"e2", "e3", "e4"}
    households = store.read_now(lambda c: c.scalars(sa.text("SELECT id FROM household")).all())
    assert set(households) == {"h2", "h3"}, "the state came with the facts"
    assert copies.copy("cards", url, copies_at) == 4, "a new life of the store, a new file"
    assert len(list(copies_at.iterdir())) == 2
    store.close_now()


def test_what_comes_from_the_copy_is_told_in_the_log_and_not_on_the_terminal(
    folder: Folder, tmp_path: Path
) -> None:
    """It may be a line for each of thousands of facts, between a person and the report."""
    copies_at = tmp_path / "usb" / f"vicinato-{folder.installation()}"
    copies_at.mkdir(parents=True)
    backup = taken(folder, tmp_path / "b")
    url = urls_of(folder)["cards"]
    store = Store(url)
    told_in(store, registered("h1"), "e1")
    copies.copy("cards", url, copies_at)
    store.close_now()
    password = tmp_path / "password"
    password.write_text("x")
    kafka_away = {
        "KAFKA": f"127.0.0.1:{free_port()}",
        "KAFKA_ADMIN_USER": "admin",
        "KAFKA_ADMIN_SECRET_FILE": str(password),
    }
    place = {"DATA": str(folder.root), "PORT": str(free_block()), "READY_WITHIN": "5"}
    words = ["restore", str(backup), "--outbox-copy", str(copies_at.parent)]
    done = subprocess.run(
        [sys.executable, "-m", "vicinato.cli", *words],
        env={**os.environ, **kafka_away, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.KAFKA, done.stderr
    assert "Put back: " in done.stdout
    assert "outbox.adopted" not in done.stdout + done.stderr
    assert "outbox.adopted" in folder.log("supervisor").read_text()


def test_who_is_erased_is_erased_from_the_copy_as_well(folder: Folder, tmp_path: Path) -> None:
    copies_at = tmp_path / "usb"
    copies_at.mkdir()
    url = urls_of(folder)["cards"]
    store = Store(url)
    told_in(store, described("p1"), "e1")
    told_in(store, registered("h1"), "e2")
    copies.copy("cards", url, copies_at)
    (file,) = copies_at.iterdir()
    lines = file.read_bytes().splitlines()
    assert b"Zuzzurellona" in base64.b64decode(json.loads(lines[0])["body"])
    told_in(store, PersonErased(person_id="p1"), "e3")
    assert copies.copy("cards", url, copies_at) == 1
    left = [json.loads(line)["id"] for line in file.read_bytes().splitlines() if line.strip()]
    assert left == ["e2", "e3"]
    assert copies.copy("cards", url, copies_at) == 0
    store.close_now()


def test_a_copy_on_the_same_disk_or_on_none_is_an_alarm(tmp_path: Path) -> None:
    order = {"data": str(tmp_path), "installation": "i", "urls": {}}
    gone = steps.copy_outboxes({**order, "to": str(tmp_path / "usb")})
    assert "is not there" in gone["failed"]
    here = steps.copy_outboxes({**order, "to": str(tmp_path)})
    assert "same disk" in here["failed"]


def test_a_copy_that_is_named_and_not_there_stops_a_restore(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(taken(folder, tmp_path / "good"))
    refusal = run(folder, monkeypatch, "restore", path, "--outbox-copy", str(tmp_path))
    assert refusal.code is Exit.SETTING
