"""A disk that gives back other bytes than it got: no backup holds them, and none is put back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from messaging.catalogue import services
from runtime.store import Store
from vicinato.backup.archive import Backup, BadBackupError
from vicinato.backup.staging import Target
from vicinato.broken_off import BrokenOffError
from vicinato.damage import damage_in
from vicinato.folder import Folder
from vicinato.refusals import Exit
from vicinato.settings import SERVICES
from vicinato.verify import verify

from .installation import run, staged, taken, tell, urls_of

FACT = "01890000-0000-7000-8000-00000000000"


@pytest.fixture
def damaged(folder: Folder) -> Path:
    """A store of cards where one bit of an index of the outbox has turned."""
    store = Store(urls_of(folder)["cards"])
    for last in range(10):
        store.write_now(lambda c, one=f"{FACT}{last}": tell(c, one))  # type: ignore[misc]
    store.close_now()
    path = folder.stores / "cards.db"
    with closing(sqlite3.connect(path)) as looked:
        (page,) = looked.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_outbox_1'"
        ).fetchone()
        (size,) = looked.execute("PRAGMA page_size").fetchone()
    data = bytearray(path.read_bytes())
    begin = (page - 1) * size
    data[data.index(f"{FACT}7".encode(), begin, begin + size)] ^= 1
    path.write_bytes(data)
    return path


def test_only_the_whole_look_finds_it(damaged: Path) -> None:
    """What the tests below are about: the fact is there, and goes in once more."""
    with closing(sqlite3.connect(damaged)) as store:
        assert store.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        again = (
            "INSERT OR IGNORE INTO outbox (id, topic, key, type, headers, body, at)"
            " SELECT id, topic, key, type, headers, body, at FROM outbox WHERE row = 8"
        )
        assert store.execute(again).rowcount == 1
    assert damage_in(damaged) == "row 8 missing from index sqlite_autoindex_outbox_1"


def test_a_damaged_store_is_not_backed_up(
    folder: Folder, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    earlier = taken(folder, out / "earlier")
    before = earlier.read_bytes()
    request.getfixturevalue("damaged")
    refusal = run(folder, monkeypatch, "backup", str(out / "b"))
    assert refusal.code is Exit.DAMAGED_STORE
    assert "the store of cards is damaged" in refusal.english
    assert [one.name for one in out.iterdir()] == ["earlier"]
    assert earlier.read_bytes() == before


@pytest.mark.usefixtures("damaged")
def test_a_damaged_store_is_not_put_back(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier_version:
        earlier_version.setattr("vicinato.backup.moment.damage_in", lambda *_: "")
        backup = Backup(taken(folder, tmp_path / "b"))
    with pytest.raises(BadBackupError, match="damaged: row 8 missing from index"):
        staged(backup, Target(folder, urls_of(folder)), ["cards"])
    assert not folder.restore.exists()


@pytest.mark.usefixtures("damaged")
def test_verify_names_a_damaged_store_before_anything_that_it_says(folder: Folder) -> None:
    report = verify(services(), urls_of(folder), None)
    assert [finding.what for finding in report.findings] == [
        f"{service.name}: its file is whole" for service in services()
    ]
    (difference,) = report.differences
    assert difference.subject == "cards.db"
    assert "missing from index" in difference.found
    assert not report.holds


def test_stores_that_are_whole_are_verified_to_the_end(folder: Folder) -> None:
    report = verify(services(), urls_of(folder), None)
    assert report.holds
    assert len(report.findings) > len(SERVICES)


def test_a_look_at_a_large_store_can_be_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicinato.damage.LOOK_EVERY", 0.0)
    path = tmp_path / "large.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE large (number INTEGER UNIQUE)")
        store.execute(
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 50000)"
            " INSERT INTO large SELECT x FROM n"
        )

    def ctrl_c() -> None:
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        damage_in(path, ctrl_c)
    assert damage_in(path) == ""
