"""A host with Docker, as far as the scripts and the jobs see it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import sqlalchemy as sa

from messaging import restoring
from messaging.tables import outbox
from runtime.store import Store
from vicinato import settings
from vicinato.backup.server import database_running
from vicinato.backup.staging import Target
from vicinato.databases import create, migrate
from vicinato.folder import Folder
from vicinato.paths import deploy_folder
from vicinato.ports import free_block
from vicinato.programs.postgresql import server_url, tool
from vicinato.programs.service import url_on
from vicinato.settings import SERVICES

FOLDER = deploy_folder() / "compose"


@contextmanager
def postgresql() -> Iterator[str]:
    """The administrator's URL of a server of our own. It asks for passwords, as the container's."""
    root = Path(tempfile.mkdtemp(prefix="vicinato-compose-"))
    root.chmod(0o711)  # PostgreSQL has a user of its own where everything else is root
    wanted = settings.load(
        {"DATA": str(root / "data"), "DATABASE": "postgres", "PORT": str(free_block())}
    )
    folder = Folder(wanted.data)
    ready, over = threading.Event(), threading.Event()

    async def run() -> None:
        async with database_running(wanted, folder, new=True):
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(120)
        url = server_url(wanted, folder.secrets)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # it may be lost with the machine
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        over.set()
        thread.join()
        shutil.rmtree(root, ignore_errors=True)


@dataclass
class Host:
    """With the PostgreSQL of `server`. `run`: the jobs that are run and not only written down.
    `up`: the file that is made when all is to be started, and the one that is awaited then."""

    folder: Path
    server: str
    run: list[str] = field(default_factory=lambda: ["provision", "migrate"])
    up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.secrets = self.folder / "secrets"
        words = ["sh", str(FOLDER / "secrets.sh"), str(self.secrets)]
        subprocess.run(words, check=True, capture_output=True)
        parts = urlsplit(self.server)
        self.port = parts.port
        admin = self.secrets / "store-admin"
        admin.chmod(0o600)
        admin.write_text(f"{parts.password}\n")
        (self.folder / "run" / "secrets").mkdir(parents=True)
        for name in SERVICES:
            secret = f"store-{name}"
            shutil.copy(self.secrets / secret, self.folder / "run" / "secrets" / secret)
        self.job = {
            "DATA": str(self.folder / "run"),
            "DATABASE": f"postgresql://postgres@127.0.0.1:{self.port}/postgres",
            "DATABASE_SECRET_FILE": str(admin),
        }
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        docker = self.bin / "docker"
        stand_in = Path(__file__).with_name("docker_stand_in.py")
        docker.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
        docker.chmod(0o755)

    def url(self, service: str, more: str = "") -> str:
        secret = (self.secrets / f"store-{service}").read_text().strip()
        return url_on(self.server, service, secret) + more

    @property
    def target(self) -> Target:
        """Where its stores are, for the jobs."""
        return Target(Folder(self.folder / "run"), {n: self.url(n) for n in SERVICES}, self.server)

    def script(
        self,
        name: str,
        *words: str,
        failing: Sequence[Sequence[str]] = (),
        last: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Of Docker's calls those of `failing` fail; when one begins as `last` the script is told
        to end."""
        told = {
            "log": str(self.log),
            "bin": str(Path(tool("psql")).parent),
            "port": self.port,
            "secrets": str(self.secrets),
            "run": self.run,
            "processes": dict.fromkeys(SERVICES, 0),
            "jobs": self.job,
            "up": self.up,
            "failing": failing,
            "last": last,
        }
        self.log.unlink(missing_ok=True)
        (self.folder / "told.json").write_text(json.dumps(told))
        environ = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "STAND_IN": str(self.folder / "told.json"),
        }
        return subprocess.run(
            ["sh", str(FOLDER / name), *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def calls(self) -> list[list[str]]:
        """What Docker was asked for."""
        if not self.log.exists():
            return []
        return [json.loads(line)[1:] for line in self.log.read_text().splitlines()]

    def anew(self, names: Sequence[str] = SERVICES) -> None:
        """Empty stores of these services, as the jobs make them; and no other database of ours."""
        for name in self.databases("vicinato\\_%"):
            self.do(f"DROP DATABASE {name} WITH (FORCE)")
        urls = {name: self.url(name) for name in names}
        create(self.server, urls)
        migrate(urls)

    def tell(self, service: str) -> str:
        """A fact in the outbox of a service; its id."""
        made = str(uuid.uuid4())
        row = {
            "id": made,
            "topic": f"{service}.events",
            "key": "k",
            "type": "t",
            "headers": {},
            "body": b"{}",
            "at": datetime.now(UTC),
        }
        store = Store(self.url(service), readers=1)
        store.write_now(lambda c: c.execute(sa.insert(outbox).values(**row)))
        store.close_now()
        return made

    def facts(self, service: str, more: str = "") -> set[str]:
        store = Store(self.url(service, more), readers=1)
        try:
            return set(store.read_now(lambda c: c.scalars(sa.select(outbox.c.id)).all()))
        finally:
            store.close_now()

    def mark(self, service: str) -> restoring.Restoring | None:
        store = Store(self.url(service), readers=1)
        try:
            return store.read_now(restoring.read)
        finally:
            store.close_now()

    def databases(self, like: str) -> set[str]:
        with psycopg.connect(self.server) as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE %s", (like,)
            )
            return {row[0] for row in found}

    def do(self, words: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(words.encode())
