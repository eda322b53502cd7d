"""Who is erased goes from the second copy of the outboxes, whatever happens on the way."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import Event
from contracts.cards import HouseholdRegistered
from contracts.people import PersonDescribed, PersonErased
from messaging import outbox
from messaging.catalogue import services
from messaging.envelope import body_of, headers_for
from messaging.outbox import Draft
from runtime.store import Store
from runtime.testing import eventually_async, fresh_store, migrated
from vicinato import settings
from vicinato.backup.copies import CopyError, bring, copy
from vicinato.folder import Folder
from vicinato.ports import free_block
from vicinato.supervisor import House
from web.serve import service_named

NAME = "Zuzzurellona"


@contextmanager
def cards_store(engine: str, folder: Path) -> Iterator[Store]:
    folder.mkdir()
    service = service_named("cards")
    with fresh_store(engine, service.package, service.metadata, folder) as url:
        store = Store(url)
        try:
            yield store
        finally:
            store.close_now()


@pytest.fixture(params=["sqlite", "postgresql"])
def cards(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with cards_store(request.param, tmp_path / "store") as store:
        yield store


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    made = tmp_path / "usb"
    made.mkdir()
    return made


def tell(store: Store, event_id: str, event: Event) -> None:
    """A fact in the outbox. (What was told of somebody stays in this one when they are erased.)"""
    now = datetime.now(UTC)
    headers = headers_for(
        event, event_id=event_id, source="/cards", time=now, correlation="c", centre="c1"
    )
    draft = Draft(
        event_id, event.TOPIC, event.key, None, event.ce_type(), headers, body_of(event), now
    )
    store.write_now(lambda c: outbox.write(c, [draft]))


def described(person: str, name: str = NAME) -> PersonDescribed:
    return PersonDescribed(
        person_id=person,
        household_id="h1",
        centre_id="c1",
        revision=1,
        given_name=name,
        family_name="Prova",
        described_at=datetime.now(UTC),
    )


def registered(household: str) -> HouseholdRegistered:
    return HouseholdRegistered(
        household_id=household,
        centre_id="c1",
        holder_id="p2",
        zone="Satta",
        person_ids=("p2",),
        registered_at=datetime.now(UTC),
    )


def copied(store: Store, usb: Path, *, mend: bool = False) -> int:
    return copy("cards", store.url, usb, mend=mend)


def kept(usb: Path) -> list[str]:
    """The ids of all facts in the copy."""
    lines = [line for path in usb.iterdir() for line in path.read_bytes().splitlines()]
    return [json.loads(line)["id"] for line in lines if line.strip()]


def names(usb: Path) -> set[str]:
    """The files in which the name is found, be it in a line that is not whole: in base64 a word
    looks in three ways, by where it begins."""
    ways = [base64.b64encode(b"x" * n + NAME.encode())[4:-4] for n in range(3)]
    return {path.name for path in usb.iterdir() if any(way in path.read_bytes() for way in ways)}


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_one_that_breaks_off_is_made_up_for_by_the_next(
    cards: Store, usb: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """The disk is gone when something is to be safe on it for the first, second, third time."""
    tell(cards, "e1", described("p1"))
    tell(cards, "e2", registered("h1"))
    copied(cards, usb)
    assert names(usb)
    tell(cards, "e3", PersonErased(person_id="p1"))
    times, fsync = 0, os.fsync

    def gone(descriptor: int) -> None:
        nonlocal times
        times += 1
        if times == fails_at:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patched, suppress(CopyError):
        patched.setattr(os, "fsync", gone)
        copied(cards, usb)
    copied(cards, usb)
    assert not names(usb)
    assert kept(usb) == ["e2", "e3"]
    assert copied(cards, usb) == 0


def test_it_takes_neither_room_nor_rights(
    cards: Store, usb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full USB disk with FAT, which knows no owners: a change of rights is refused there."""

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    monkeypatch.setattr(os, "fchmod", refused)
    tell(cards, "e1", described("p1"))
    tell(cards, "e2", described("p2", "Anna"))
    copied(cards, usb)
    (file,) = usb.iterdir()
    size = file.stat().st_size
    tell(cards, "e3", PersonErased(person_id="p1"))
    assert copied(cards, usb) == 1
    assert not names(usb)
    assert kept(usb) == ["e2", "e3"]
    assert list(usb.iterdir()) == [file]
    assert file.read_bytes()[:size].count(b"\n") == 2, "nothing has moved"


def test_who_is_erased_before_a_first_copy_never_comes_there(cards: Store, usb: Path) -> None:
    tell(cards, "e1", described("p1"))
    tell(cards, "e2", PersonErased(person_id="p1"))
    copied(cards, usb)
    assert not names(usb)
    assert kept(usb) == ["e2"]
    assert copied(cards, usb) == 0


def test_a_copy_that_was_broken_off_behind_an_emptied_line_finds_its_place(
    cards: Store, usb: Path
) -> None:
    tell(cards, "e1", registered("h1"))
    tell(cards, "e2", described("p1"))
    copied(cards, usb)
    (file,) = usb.iterdir()
    first, last = file.read_bytes().splitlines()
    file.write_bytes(first + b"\n" + b" " * len(last) + b"\n" + b'{"row": 3, "id')
    tell(cards, "e3", PersonErased(person_id="p1"))
    copied(cards, usb)
    assert kept(usb) == ["e1", "e3"]
    assert copied(cards, usb) == 0


def test_a_line_that_was_half_emptied_goes_whole(cards: Store, usb: Path) -> None:
    tell(cards, "e1", described("p1"))
    tell(cards, "e2", registered("h1"))
    copied(cards, usb)
    (file,) = usb.iterdir()
    file.write_bytes(b" " * 20 + file.read_bytes()[20:])
    assert names(usb)
    tell(cards, "e3", PersonErased(person_id="p1"))
    copied(cards, usb)
    assert not names(usb)
    assert kept(usb) == ["e2", "e3"]


def left_by_an_earlier_version(store: Store, usb: Path) -> Path:
    """It said first that p1 is erased, and was broken off while it wrote the file anew."""
    tell(store, "e1", described("p1"))
    tell(store, "e2", described("p2", "Anna"))
    copied(store, usb)
    (file,) = usb.iterdir()
    with_names = file.read_bytes()
    tell(store, "e3", PersonErased(person_id="p1"))
    copied(store, usb)
    file.write_bytes(with_names + file.read_bytes().splitlines(keepends=True)[-1])
    assert kept(usb) == ["e1", "e2", "e3"]
    return file


def test_what_an_earlier_version_left_is_emptied_and_its_part_goes(cards: Store, usb: Path) -> None:
    file = left_by_an_earlier_version(cards, usb)
    file.with_suffix(".part").write_bytes(file.read_bytes()[:300])
    assert copied(cards, usb, mend=True) == 0
    assert not names(usb)
    assert list(usb.iterdir()) == [file]
    assert kept(usb) == ["e2", "e3"]


def test_a_part_is_the_copy_where_the_file_was_overwritten_already(cards: Store, usb: Path) -> None:
    file = left_by_an_earlier_version(cards, usb)
    file.rename(file.with_suffix(".part"))
    file.write_bytes(bytes(2_000))
    assert copied(cards, usb, mend=True) == 0
    assert list(usb.iterdir()) == [file]
    assert kept(usb) == ["e2", "e3"]


def test_what_is_left_comes_back(cards: Store, usb: Path, tmp_path: Path) -> None:
    tell(cards, "e1", described("p1"))
    tell(cards, "e2", registered("h1"))
    copied(cards, usb)
    tell(cards, "e3", PersonErased(person_id="p1"))
    copied(cards, usb)
    with cards_store("sqlite", tmp_path / "other") as other:
        assert bring("cards", other.url, usb) == (2, 0)
        found = other.read_now(lambda c: c.scalars(sa.text("SELECT id FROM outbox")).all())
    assert set(found) == {"e2", "e3"}


def as_earlier_versions_wrote(line: bytes) -> bytes:
    return line[: line.index(b', "sum"')] + b"}"


def test_no_damaged_line_tells_another_fact_and_the_others_come_back(
    usb: Path, tmp_path: Path
) -> None:
    with cards_store("sqlite", tmp_path / "store") as cards:
        for number in range(3):
            tell(cards, f"e{number}", registered(f"h{number}"))
        copied(cards, usb)
    (file,) = usb.iterdir()
    first, middle, last = file.read_bytes().splitlines()
    places = [middle.index(part) + 1 for part in (b'topic"', b'e1", "topic', b'": "ey', b'"ce_id"')]
    with cards_store("sqlite", tmp_path / "other") as other:
        for place in [*places, len(middle) - 5]:
            bad = middle[:place] + bytes([middle[place] ^ 1]) + middle[place + 1 :]
            file.write_bytes(b"\n".join([as_earlier_versions_wrote(first), bad, last, b'{"row']))
            assert bring("cards", other.url, usb).damaged == 1, bad
        found = other.read_now(lambda c: c.scalars(sa.text("SELECT id FROM outbox")).all())
    assert set(found) == {"e0", "e2"}


def test_what_a_disk_has_damaged_is_written_once_more(
    cards: Store, usb: Path, tmp_path: Path
) -> None:
    for number in range(3):
        tell(cards, f"e{number}", registered(f"h{number}"))
    copied(cards, usb)
    (file,) = usb.iterdir()
    file.write_bytes(file.read_bytes().replace(b'"e1"', b'"e9"', 1))
    assert copied(cards, usb, mend=True) == 2
    assert kept(usb) == ["e0", "e1", "e2"]
    assert copied(cards, usb, mend=True) == 0
    with cards_store("sqlite", tmp_path / "other") as other:
        assert bring("cards", other.url, usb) == (3, 0)


@pytest.fixture
def other_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


async def test_a_house_that_begins_looks_through_what_is_there(
    tmp_path: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "data")
    folder.open()
    for service in services():
        url = f"sqlite:///{folder.stores / service.name}.db"
        migrated(url, service.package, service.metadata)
    there = other_disk / f"vicinato-{folder.installation()}"
    there.mkdir()
    store = Store(f"sqlite:///{folder.stores / 'cards'}.db")
    left_by_an_earlier_version(store, there)
    store.close_now()
    assert names(there)
    monkeypatch.setenv("DATA", str(folder.root))
    monkeypatch.setenv("PORT", str(free_block()))
    house = House(settings.load(), folder, lambda _: None)
    copying = asyncio.create_task(house.keep_a_copy(other_disk, lambda *_: None))
    await eventually_async(lambda: house.supervisor.outbox_copy, within=60, why="it is made")
    copying.cancel()
    with suppress(asyncio.CancelledError):
        await copying
    assert not house.supervisor.outbox_copy["failed"]
    assert not names(there)
