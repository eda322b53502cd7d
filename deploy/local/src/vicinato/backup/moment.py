"""All stores at one moment: write locks on all, then a snapshot of each, then the locks go.

With the write locks held on every store nothing can be told and nothing settled, so no snapshot
knows of a fact that the snapshot of its teller does not have. That takes milliseconds. Who waits
for a store longer than a moment lets go of all others and tries again, so that nobody is held up
for long. The snapshots are copied afterwards, at leisure: writers go on meanwhile.
"""

from __future__ import annotations

import errno
import gzip
import os
import random
import select
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg

from vicinato.backup.archive import Centre, Measured, Place, StoreFacts, Writer
from vicinato.damage import damage_in
from vicinato.programs.postgresql import tool

TRIES = 200
PATIENCE = 0.05
"""Seconds to wait for one store while others are held."""

LONGEST = 1.0
PAGES = 256
NAP = 0.001
"""Seconds between slices of a copy: the disk is for those who sell."""

LOOK_EVERY = 0.2
"""Seconds, while a program of PostgreSQL's says nothing."""

Popen = subprocess.Popen[bytes]

Progress = Callable[[int], None]
"""Told of every piece, in bytes, and of every moment without one; what it raises breaks off."""


class StoreAwayError(Exception):
    """A store is not there or cannot be read. One sentence."""


class StoreDamagedError(Exception):
    """The file of a store is not as it was written. One sentence without its end."""


class BusyError(Exception):
    """Somebody else holds the store."""


class Snapshot(Protocol):
    """A store as it was at the moment."""

    name: str
    size: int

    def lock(self, patience: float) -> None:
        """Nobody else writes from now on. Raises BusyError."""

    def unlock(self) -> None: ...
    def look(self) -> None:
        """This is the moment."""

    def query(self, words: str) -> Sequence[Sequence[Any]]: ...
    def has(self, table: str) -> bool: ...
    def copy(self, writer: Writer, progress: Progress) -> str:
        """Writes the store as a part; returns the part's name. Raises StoreAwayError, and
        StoreDamagedError for what nobody could put back."""

    def close(self) -> None: ...


@dataclass
class Moment:
    """The snapshots, and for how many milliseconds writers were held up."""

    snapshots: Sequence[Snapshot]
    held_ms: float

    def facts(self, one: Snapshot, part: str) -> StoreFacts:
        """Of a store of an earlier version, which has other tables, what is unsent is not counted:
        it is saved like any other."""
        counts = one.has("outbox_unsent")
        return StoreFacts(
            part=part,
            revision=str(one.query("SELECT version_num FROM alembic_version")[0][0]),
            places=[
                Place(side=side, topic=topic, partition=partition, offset=offset, era=era)
                for side, topic, partition, offset, era in one.query(
                    'SELECT side, topic, "partition", record_offset, era FROM place'
                    " ORDER BY side, topic, 3"
                )
            ],
            last_row=int(one.query('SELECT coalesce(max("row"), 0) FROM outbox')[0][0]),
            unsent=int(one.query("SELECT count(*) FROM outbox_unsent")[0][0]) if counts else 0,
        )

    def centres(self) -> list[Centre]:
        for one in self.snapshots:
            if one.name == "identity":
                rows = one.query("SELECT id, name FROM centre ORDER BY id")
                return [Centre(id=str(key), name=str(name)) for key, name in rows]
        return []


@contextmanager
def moment(urls: Mapping[str, str], between: Callable[[], None] = lambda: None) -> Iterator[Moment]:
    """The stores at `urls`, by service, at one moment. What `between` raises, between two tries to
    get hold of them, breaks off. Raises StoreAwayError."""
    with ExitStack() as stack:
        found = [stack.enter_context(closing(_opened(name, url))) for name, url in urls.items()]
        yield Moment(found, _hold(found, between) * 1000)


def _opened(name: str, url: str) -> Snapshot:
    if url.startswith("sqlite:///"):
        return _SqliteSnapshot(name, Path(url.removeprefix("sqlite:///")))
    return _PostgresqlSnapshot(name, url)


def _hold(snapshots: Sequence[Snapshot], between: Callable[[], None]) -> float:
    """Locks all, looks at all, frees all; returns the seconds from the first to the last."""
    order = list(snapshots)
    for attempt in range(TRIES):
        between()
        held: list[Snapshot] = []
        began = time.monotonic()
        patience = min(PATIENCE * (1 + attempt / 10), LONGEST)
        try:
            for one in order:
                one.lock(patience)
                began = began if held else time.monotonic()
                held.append(one)
            for one in snapshots:
                one.look()
            for one in held:
                one.unlock()
            return time.monotonic() - began
        except BusyError:
            # The busiest one first, next time: while it is waited for, nobody is held up.
            busy = order.pop(len(held))
            order.insert(0, busy)
            for one in held:
                one.unlock()
        time.sleep(random.uniform(0.002, 0.03))  # noqa: S311 - no secret
    raise StoreAwayError(f"the store of {order[0].name} is never free")


class _SqliteSnapshot:
    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        if not path.is_file():
            raise StoreAwayError(f"there is no store of {name} at {path}")
        self.size = path.stat().st_size
        uri = f"{path.absolute().as_uri()}?mode=rw"
        self._writing = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
        self._reading = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        try:
            for connection in (self._writing, self._reading):  # the schema, before it is urgent
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            self.close()
            raise StoreAwayError(f"the store of {name} cannot be read: {error}") from error

    def lock(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                self._writing.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise StoreAwayError(f"the store of {self.name}: {error}") from error
                if time.monotonic() > deadline:
                    raise BusyError from error
            except sqlite3.DatabaseError as error:
                raise StoreAwayError(f"the store of {self.name}: {error}") from error
            time.sleep(0.0005)

    def unlock(self) -> None:
        self._writing.rollback()

    def look(self) -> None:
        self._reading.execute("BEGIN")
        self._reading.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def has(self, table: str) -> bool:
        return (table,) in self.query("SELECT name FROM sqlite_master WHERE type = 'table'")

    def query(self, words: str) -> Sequence[Sequence[Any]]:
        return self._reading.execute(words).fetchall()

    def copy(self, writer: Writer, progress: Progress) -> str:
        """Page by page within the snapshot's transaction; looked at for damage; then compressed
        into the file."""
        part = f"stores/{self.name}.db.gz"
        with writer.scratch(f"{self.name}.db") as path:
            with closing(sqlite3.connect(path)) as target:
                target.execute("PRAGMA synchronous=OFF")
                target.execute("PRAGMA journal_mode=OFF")

                def slice_done(_status: int, _left: int, _total: int) -> None:
                    progress(0)
                    time.sleep(NAP)

                try:
                    self._reading.backup(target, pages=PAGES, progress=slice_done)
                except sqlite3.DatabaseError as error:
                    if "full" in str(error):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                    raise StoreAwayError(f"the store of {self.name}: {error}") from error
            if found := damage_in(path, lambda: progress(0)):
                raise StoreDamagedError(f"the store of {self.name} is damaged ({found})")
            with writer.part(part) as member, path.open("rb") as source:
                _packed(source.read, member, progress)
        return part

    def close(self) -> None:
        self._writing.close()
        self._reading.close()


def _packed(read: Callable[[int], bytes], member: Measured, progress: Progress) -> None:
    with gzip.GzipFile("", "wb", 1, member, 0) as packed:
        while piece := read(1 << 20):
            packed.write(piece)
            member.whole += len(piece)
            progress(len(piece))
            time.sleep(NAP)


class _PostgresqlSnapshot:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url
        try:
            self._writing = psycopg.connect(url, connect_timeout=10)
            self._reading = psycopg.connect(url, connect_timeout=10, autocommit=True)
            self._reading.execute("SET idle_in_transaction_session_timeout = 0")
            found = self._reading.execute("SELECT pg_database_size(current_database())").fetchone()
        except psycopg.Error as error:
            raise StoreAwayError(f"the database of {name} does not answer") from error
        self.size = int(found[0]) if found else 0
        self._exported = ""

    def lock(self, patience: float) -> None:
        """The outbox is the last thing that a command writes: nothing that is told gets past."""
        try:
            self._writing.execute(f"SET LOCAL lock_timeout = {int(patience * 1000)}")
            self._writing.execute("LOCK TABLE outbox IN EXCLUSIVE MODE")
        except psycopg.errors.LockNotAvailable as error:
            self._writing.rollback()
            raise BusyError from error
        except psycopg.Error as error:
            raise StoreAwayError(f"the database of {self.name}: {error}") from error

    def unlock(self) -> None:
        self._writing.rollback()

    def look(self) -> None:
        self._reading.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = self._reading.execute("SELECT pg_export_snapshot()").fetchone()
        self._exported = str(found[0]) if found else ""

    def has(self, table: str) -> bool:
        words = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        return (table,) in self.query(words)

    def query(self, words: str) -> Sequence[Sequence[Any]]:
        return self._reading.execute(words).fetchall()

    def copy(self, writer: Writer, progress: Progress) -> str:
        part = f"stores/{self.name}.pgdump"
        url, env = server_address(self._url)
        words = [tool("pg_dump"), "--format=custom", "--compress=1", "--no-owner"]
        words += ["--no-privileges", f"--snapshot={self._exported}", f"--dbname={url}"]
        with (
            tempfile.TemporaryFile(dir=writer.draft.parent) as said,
            writer.part(part) as member,
        ):
            with program(words, env, stdout=subprocess.PIPE, stderr=said) as dump:
                for piece in _pieces(dump, progress):
                    member.write(piece)
                    progress(len(piece))
            member.whole = max(self.size, member.length)
            if dump.returncode:
                said.seek(0)
                why = said.read().decode(errors="replace").strip().splitlines()
                raise StoreAwayError(f"pg_dump of {self.name}: {why[-1] if why else 'failed'}")
        return part

    def close(self) -> None:
        self._writing.close()
        self._reading.close()


@contextmanager
def program(words: Sequence[str], env: Mapping[str, str], **files: Any) -> Iterator[Popen]:
    """A program of PostgreSQL's, until it has ended; it does not outlive an error of ours. Ctrl-C
    on the terminal is for us."""
    with subprocess.Popen(words, env=env, start_new_session=True, **files) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _pieces(dump: Popen, progress: Progress) -> Iterator[bytes]:
    """What it writes, as it comes."""
    assert dump.stdout is not None
    pipe = dump.stdout.fileno()
    while True:
        while not select.select([pipe], [], [], LOOK_EVERY)[0]:
            progress(0)
        if not (piece := os.read(pipe, 1 << 20)):
            return
        yield piece


def server_address(url: str) -> tuple[str, dict[str, str]]:
    """A database's address without its password, and the environment that holds it: command lines
    are readable by every user of the machine."""
    parts = urlsplit(url)
    who, _, where = parts.netloc.rpartition("@")
    user, _, secret = who.partition(":")
    clean = urlunsplit(parts._replace(netloc=f"{user}@{where}" if user else where))
    return clean, {**os.environ, "PGPASSWORD": unquote(secret)}
