"""A backup or a restore that is broken off leaves nothing behind, and hears that it is to end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runtime.testing import eventually
from vicinato.backup.archive import Backup, Writer
from vicinato.backup.staging import Target
from vicinato.backup.take import Order, take
from vicinato.folder import Folder
from vicinato.refusals import Exit

from .installation import taken

# a backup


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    return made


@contextmanager
def held(folder: Folder) -> Iterator[None]:
    """Somebody writes for long: a backup has begun and cannot have all stores at one moment."""
    path = folder.stores / "cards.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def begun(folder: Folder, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A backup in a process of its own, which has its draft."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vicinato.cli", "backup", str(out / "b")],
        env={**os.environ, "DATA": str(folder.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        eventually(lambda: list(out.iterdir()), within=30, why="the backup has begun")
        yield process
    finally:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_asked_to_end_ends_at_once_and_leaves_nothing(
    folder: Folder, out: Path, number: signal.Signals
) -> None:
    with held(folder), begun(folder, out) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == Exit.BROKEN_OFF, said
    assert "Broken off" in said
    assert "Traceback" not in said
    assert list(out.iterdir()) == []


def test_what_a_killed_backup_left_goes_with_the_next(folder: Folder, out: Path) -> None:
    with held(folder), begun(folder, out) as process:
        process.kill()
        process.communicate()
    (draft,) = out.iterdir()
    draft.with_name(f"{draft.name}.cards.db").write_text("personal")  # killed while it copied
    taken(folder, out / "b")
    assert [one.name for one in out.iterdir()] == ["b"]


def test_what_earlier_versions_left_goes_too_and_nothing_of_others(
    folder: Folder, out: Path
) -> None:
    (out / ".vicinato-2026-11-25-203000.backup.part").write_text("personal")
    (out / ".vicinato-ab_12cde").mkdir()
    (out / ".vicinato-ab_12cde" / "cards.db").write_text("personal")
    (out / ".film.part").write_text("x")
    (out / ".vicinato-settings").mkdir()
    (out / ".vicinato-settings" / "x.db").write_text("x")
    (out / ".vicinato-ours1234").mkdir()
    (out / ".vicinato-ours1234" / "notes").write_text("x")
    taken(folder, out / "b")
    left = {one.name for one in out.iterdir()}
    assert left == {"b", ".film.part", ".vicinato-settings", ".vicinato-ours1234"}


def test_a_draft_that_somebody_writes_is_left_alone(folder: Folder, out: Path) -> None:
    with Writer(out / "first") as writer:
        with writer.scratch("cards.db") as scratch:
            assert scratch.stat().st_mode & 0o777 == 0o600
            taken(folder, out / "second")
            assert scratch.exists()
        assert writer.draft.exists()
    assert [one.name for one in out.iterdir()] == ["second"]


class EnoughError(Exception):
    """Whoever waits wants it to end."""


def test_a_copy_is_asked_between_its_pieces_whether_it_is_to_end(pair: Target, out: Path) -> None:
    """A store of a gigabyte is copied for a minute before its first byte is in the file."""
    pieces = list[int]()

    def told(done: int) -> None:
        pieces.append(done)

    def between() -> None:
        if pieces:
            raise EnoughError

    with pytest.raises(EnoughError):
        take(pair.folder, Order(pair.urls, out / "b", False, ""), lambda _s, _h: told, between)
    assert len(pieces) == 1, "no other piece after the first"
    if not pair.server:
        assert pieces == [0], "it is asked while SQLite copies"
    assert list(out.iterdir()) == []
    assert Backup(taken_of(pair, out / "b")).manifest.stores.keys() == pair.urls.keys()


def taken_of(target: Target, path: Path) -> Path:
    take(target.folder, Order(target.urls, path, False, ""))
    return path
