"""A backup or a restore that is broken off leaves nothing behind, and hears that it is to end."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from runtime.store import Store
from runtime.testing import eventually
from vicinato import settings
from vicinato.backup import staging
from vicinato.backup.archive import Backup, BadBackupError, Writer
from vicinato.backup.put_back import go_on, put_back
from vicinato.backup.staging import Target
from vicinato.backup.take import Order, take
from vicinato.broken_off import BrokenOffError
from vicinato.broken_off import run as run_in_order
from vicinato.folder import Folder
from vicinato.ports import free_block
from vicinato.refusals import Exit
from vicinato.settings import SERVICES

from .installation import PAIR, staged, taken


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Also where the tests run in the background, whose Ctrl-C is nobody's."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
    assert Backup(everything(pair, out / "b")).manifest.stores.keys() == pair.urls.keys()


def everything(target: Target, path: Path) -> Path:
    take(target.folder, Order(target.urls, path, False, ""))
    return path


# a restore


def left(target: Target) -> list[str]:
    """What is staged, files or databases."""
    found = [one.name for one in target.folder.restore.glob("*")]
    if target.server:
        with psycopg.connect(target.server, autocommit=True) as connection:
            names = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE '%\\_restoring'"
            ).fetchall()
        ours = {url.rpartition("/")[2].partition("?")[0] for url in target.urls.values()}
        found += [name for (name,) in names if name.removesuffix("_restoring") in ours]
    return found


def test_a_restore_that_fails_while_it_stages_leaves_nothing(pair: Target, tmp_path: Path) -> None:
    backup = Backup(everything(pair, tmp_path / "b"))
    backup.manifest.stores["shop"].part = "manifest.json"
    with pytest.raises(BadBackupError):
        staged(backup, pair, PAIR)
    assert left(pair) == []
    assert not pair.folder.restore.exists()


def test_what_a_restore_left_that_was_killed_while_it_staged_goes_at_the_next_start(
    pair: Target, tmp_path: Path
) -> None:
    backup = Backup(everything(pair, tmp_path / "b"))
    with ExitStack() as stack:
        stack.enter_context(staging.place(pair))
        staging.stage(backup, pair, PAIR, new_machine=False)
        killed = stack.pop_all()
    assert left(pair)
    assert staging.is_left(pair.folder)
    staging.discard(pair)
    assert left(pair) == []
    assert not staging.is_left(pair.folder)
    killed.close()


def test_the_next_start_takes_away_what_earlier_versions_left(folder: Folder) -> None:
    folder.restore.mkdir()
    (folder.restore / "cards.db").write_text("personal")
    asyncio.run(go_on(settings.load({"DATA": str(folder.root)}), folder))
    assert not folder.restore.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_restore_that_is_asked_to_end_while_it_stages_leaves_nothing(
    folder: Folder, tmp_path: Path, number: signal.Signals
) -> None:
    backup = Backup(taken(folder, tmp_path / "b"))
    wanted = settings.load({"DATA": str(folder.root)})
    pieces = list[int]()

    def ask(done: int) -> None:
        if not pieces:
            os.kill(os.getpid(), number)
        pieces.append(done)

    with pytest.raises(BrokenOffError):
        run_in_order(put_back(wanted, folder, backup, list(SERVICES), progress=ask))
    assert not folder.restore.exists()
    assert not folder.aside.exists()


def test_a_database_that_finds_the_disk_full_says_so_as_a_file_does(
    pair: Target, tmp_path: Path
) -> None:
    def full(_service: str, url: str) -> int:
        store = Store(url)

        def fill(connection: sa.Connection) -> None:
            if pair.server:
                connection.exec_driver_sql(
                    "DO $$ BEGIN RAISE EXCEPTION 'No space left' USING ERRCODE = '53100'; END $$"
                )
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            connection.execute(sa.text("CREATE TABLE more AS SELECT zeroblob(100000)"))

        try:
            store.write_now(fill)
        finally:
            store.close_now()
        return 0

    backup = Backup(everything(pair, tmp_path / "b"))
    with pytest.raises(OSError, match="space") as refusal:
        staged(backup, pair, PAIR, bring=full)
    assert refusal.value.errno == errno.ENOSPC
    assert left(pair) == []


def test_a_full_disk_is_told_with_its_code_and_nothing_of_the_restore_is_left(
    folder: Folder, tmp_path: Path
) -> None:
    path = taken(folder, tmp_path / "b")
    secret = tmp_path / "admin"
    secret.write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "vicinato.cli", "restore", str(path)],
        env={
            **os.environ,
            "DATA": str(folder.root),
            "PORT": str(free_block()),
            "KAFKA": "127.0.0.1:9",
            "KAFKA_ADMIN_USER": "admin",
            "KAFKA_ADMIN_SECRET_FILE": str(secret),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # No file may become larger than this: no store, but whatever else is written.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)),
    )
    assert done.returncode == Exit.NO_SPACE, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Nothing was changed" in done.stderr
    assert not folder.restore.exists()
