"""A backup is put back: staged beside the stores that are there, then all are exchanged.

Until everything is staged nothing is changed; whatever breaks it off takes along what is staged,
which is personal data. The exchange is written down before it begins (`journal.json`): killed in
the middle, the next start goes on with it. The old stores lie aside. A staged store is brought to
this version's schema and carries the mark of a restore.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import sqlite3
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
import sqlalchemy as sa
from psycopg import sql
from pydantic import BaseModel

from runtime.ids import derived
from vicinato.backup.archive import Backup, BadBackupError
from vicinato.backup.copies import LIFE, Brought
from vicinato.backup.moment import LOOK_EVERY, Popen, program, server_address
from vicinato.damage import damage_in
from vicinato.databases import GROUP, connect, create
from vicinato.folder import Folder
from vicinato.programs.postgresql import tool
from vicinato.secrets import write_private

if TYPE_CHECKING:
    from messaging import Service

JOURNAL = "journal.json"
STAGING = "staging"
_AT_ONCE = 1 << 20
_STAGED = "_restoring"
_BESIDE = ("", "-wal", "-shm", "-journal")


class Journal(BaseModel):
    """What is being put back. ``putting``: the exchange has begun and must be ended; ``put``: the
    services recover; ``told``: they have, the report with the `lines` is written, they may open.
    `copied`: facts that came from the second copy of the outboxes; `damaged`: lines of it that are
    not as they were written.

    `unfinished`: restores before this one whose services have not opened yet, the first first; they
    end with it. `installation` and `machine` are what a new folder becomes. `new_machine`: the
    backup's secrets are not here; then `administrator` is the e-mail of its first one, who gets a
    password of here.
    """

    phase: Literal["putting", "put", "told"]
    backup: str
    taken_at: datetime
    product: str
    stamp: str
    services: list[str]
    new_machine: bool
    copied: dict[str, int] = {}
    damaged: dict[str, int] = {}
    second_copy: bool = False
    installation: str = ""
    machine: str = ""
    administrator: str = ""
    unfinished: list[Journal] = []
    lines: list[str] = []
    holds: bool = True

    @property
    def puts(self) -> list[Journal]:
        """Every restore that is to be ended, this one last."""
        return [*self.unfinished, self]

    def latest(self) -> dict[str, Journal]:
        """The services that are to open, each with the restore that put its store back."""
        return {name: one for one in self.puts for name in one.services}


@dataclass(frozen=True)
class Target:
    """Where the stores are: on PostgreSQL `server` is the administrator's URL, else ""."""

    folder: Folder
    urls: Mapping[str, str]
    server: str = ""

    def staged(self, service: str) -> str:
        """The address of a store while it is staged."""
        if not self.server:
            return f"sqlite:///{self.folder.restore / service}.db"
        return self._beside(service, _STAGED)

    def aside(self, service: str, stamp: str) -> str:
        """The address of an old database that lies aside."""
        return self._beside(service, f"_aside_{stamp}")

    def _beside(self, service: str, more: str) -> str:
        parts = urlsplit(self.urls[service])
        return urlunsplit(parts._replace(path=parts.path + more))


def journal_of(folder: Folder) -> Journal | None:
    """The restore that is under way in a data folder."""
    path = folder.restore / JOURNAL
    if not path.exists():
        return None
    return Journal.model_validate_json(path.read_text(encoding="utf-8"))


def write(folder: Folder, journal: Journal) -> None:
    write_private(folder.restore / JOURNAL, journal.model_dump_json())


def services_by_name() -> dict[str, Service]:
    """The installed services."""
    return {point.name: point.load() for point in entry_points(group=GROUP)}


def migrations_of(service: Service, url: str) -> None:
    """Brings a store to the schema of this version. Raises MigrationError."""
    from runtime import migrations

    migrations.upgrade(url, service.package, service.metadata)


def stage(
    backup: Backup,
    target: Target,
    wanted: Sequence[str],
    *,
    new_machine: bool,
    machine: str = "",
    bring: Callable[[str, str], Brought] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Journal:
    """Makes the stores of `wanted` ready beside those that are there; changes nothing else.

    Within a `place`. `bring` may give a staged store more than the backup has; it returns what.
    What `progress` raises breaks off; it is told of every piece, in bytes, and of every
    moment without one.

    Raises BadBackupError, MigrationError, OSError (also for a database that finds the disk full).
    """
    from messaging import restoring
    from messaging.marks import last_row
    from messaging.tables import write_meta
    from runtime.store import Store

    folder, manifest = target.folder, backup.manifest
    services = services_by_name()
    if target.server:
        create(target.server, {name: target.staged(name) for name in wanted})
    copied, administrator = {}, ""
    for name in wanted:
        url, part = target.staged(name), manifest.stores[name].part
        if target.server:
            _load(backup, part, url, progress)
        else:
            _unpack(backup, part, folder.restore / f"{name}.db", progress)
        migrations_of(services[name], url)
        store = Store(url)
        try:
            mark = restoring.Restoring(
                manifest.id,
                manifest.taken_at,
                store.read_now(last_row),
                new_machine,
            )
            store.write_now(lambda c, m=mark: restoring.mark(c, m))  # type: ignore[misc]
            store.write_now(lambda c: write_meta(c, LIFE, str(uuid.uuid4())))
            copied[name] = Brought(0, 0) if bring is None else bring(name, url)
            if new_machine and name == "identity":
                administrator = store.read_now(_first_administrator)
        finally:
            store.close_now()
    before = journal_of(folder)
    return Journal(
        phase="putting",
        backup=manifest.id,
        taken_at=manifest.taken_at,
        product=manifest.product,
        stamp=f"{datetime.now(UTC):%Y%m%d%H%M%S%f}",
        services=list(wanted),
        new_machine=new_machine,
        copied={name: one.facts for name, one in copied.items() if one.facts},
        damaged={name: one.damaged for name, one in copied.items() if one.damaged},
        second_copy=bring is not None,
        installation=manifest.installation,
        machine=machine,
        administrator=administrator,
        unfinished=[] if before is None else _alone(before.puts),
    )


@contextlib.contextmanager
def place(target: Target) -> Iterator[None]:
    """Where stores are staged, until the exchange has begun."""
    discard(target)
    target.folder.restore.mkdir(mode=0o700, exist_ok=True)
    (target.folder.restore / STAGING).touch()
    try:
        with _full_disk_told():
            yield
    except BaseException:
        with contextlib.suppress(psycopg.OperationalError):  # then the next start does it
            discard(target)
        raise


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    """That the disk is full is said in one way, whoever finds it."""
    try:
        yield
    except (sqlite3.Error, psycopg.Error, sa.exc.DBAPIError) as error:
        found = getattr(error, "orig", error)
        code = getattr(found, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or isinstance(found, psycopg.errors.DiskFull):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def is_left(folder: Folder) -> bool:
    """Whether stores may lie staged that nobody is going to put back."""
    if (folder.restore / STAGING).exists():
        return True
    return folder.restore.exists() and journal_of(folder) is None


def discard(target: Target) -> None:
    """What is staged goes; the journal of a restore that is not finished stays."""
    folder = target.folder
    if target.server:
        _drop(target.server, [_database(target.staged(name)) for name in target.urls])
    if not folder.restore.exists():
        return
    if journal_of(folder) is None:
        shutil.rmtree(folder.restore)
        return
    for one in folder.restore.iterdir():
        if one.name != JOURNAL:
            one.unlink()


def _alone(journals: Sequence[Journal]) -> list[Journal]:
    return [one.model_copy(update={"unfinished": []}) for one in journals]


def _first_administrator(connection: sa.Connection) -> str:
    """Their e-mail; "" when there is none any more."""
    found = connection.scalar(
        sa.text("SELECT email FROM account WHERE id = :id"),
        {"id": derived("identity", "first administrator")},
    )
    return str(found or "")


def begin(folder: Folder, journal: Journal) -> None:
    """From here on the exchange is to be ended, by whoever comes next."""
    (folder.aside / journal.stamp).mkdir(parents=True, exist_ok=True)
    folder.aside.chmod(0o700)
    write(folder, journal)


def put(target: Target, journal: Journal) -> None:
    """Exchanges the stores, once that has begun; it may be called again until it returns."""
    folder = target.folder
    if target.server:
        _exchange_databases(target, journal)
    else:
        folder.stores.mkdir(exist_ok=True)
        for name in journal.services:
            _exchange_files(folder, name, folder.aside / journal.stamp)
    write(folder, journal.model_copy(update={"phase": "put"}))
    (folder.restore / STAGING).unlink(missing_ok=True)


def _unpack(backup: Backup, part: str, path: Path, progress: Callable[[int], None]) -> None:
    with backup.open(part) as packed, path.open("xb") as file:
        path.chmod(0o600)
        try:
            with gzip.open(packed) as whole:
                while piece := whole.read(_AT_ONCE):
                    file.write(piece)
                    progress(len(piece))
        except (EOFError, gzip.BadGzipFile) as error:
            raise BadBackupError(f"{part} in it cannot be unpacked") from error
        file.flush()
        os.fsync(file.fileno())
    if found := damage_in(path, lambda: progress(0)):
        raise BadBackupError(f"{part} in it is damaged: {found}")


def _exchange_files(folder: Folder, name: str, aside: Path) -> None:
    """While the new store lies staged, whatever has its name is the old one."""
    staged = folder.restore / f"{name}.db"
    if not staged.exists():
        return
    for suffix in _BESIDE:
        old = folder.stores / f"{name}.db{suffix}"
        if old.exists():
            old.rename(aside / old.name)
    staged.rename(folder.stores / staged.name)
    for touched in (folder.stores, aside):
        descriptor = os.open(touched, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _database(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _load(backup: Backup, part: str, url: str, progress: Callable[[int], None]) -> None:
    clean, env = server_address(url)
    words = [tool("pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error"]
    words += ["--single-transaction", f"--dbname={clean}"]
    with (
        backup.open(part) as dump,
        tempfile.TemporaryFile() as errors,
        program(words, env, stdin=subprocess.PIPE, stderr=errors) as load,
    ):
        assert load.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while piece := dump.read(_AT_ONCE):
                load.stdin.write(piece)
                progress(len(piece))
            load.stdin.close()
        while not _has_ended(load):
            progress(0)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if load.returncode:
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        why = said.splitlines()[-1] if said else "pg_restore failed"
        raise BadBackupError(f"{part} in it could not be loaded ({why})")


def _has_ended(load: Popen) -> bool:
    try:
        load.wait(LOOK_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True


def _drop(server: str, databases: Sequence[str]) -> None:
    with connect(server) as connection:
        for name in databases:
            words = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(words.format(sql.Identifier(name)))


def _exchange_databases(target: Target, journal: Journal) -> None:
    """All in one transaction."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with psycopg.connect(target.server, connect_timeout=10) as connection:
        there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in journal.services:
            live, staged = _database(target.urls[name]), _database(target.staged(name))
            if staged not in there:
                continue
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (%s, %s)",
                (live, staged),
            )
            if live in there:
                old = sql.Identifier(_database(target.aside(name, journal.stamp)))
                connection.execute(rename.format(sql.Identifier(live), old))
            connection.execute(rename.format(sql.Identifier(staged), sql.Identifier(live)))
