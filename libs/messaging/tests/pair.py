"""Two small services over the real Kafka, a teller and a hearer, each with a store of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from contracts.activities import ActivityCreated
from contracts.network import NeedRecorded
from messaging import Policies, Projection, ProjectionTransaction, Received, Service
from messaging.engine import Engine
from messaging.tables import metadata_with_messaging
from messaging.transaction import Transaction
from runtime.clock import SystemClock
from runtime.ids import SystemIds
from runtime.settings import Settings
from runtime.store import Store
from vicinato.testing import OwnKafka

TELLER = Service(
    name="activities",
    prefix="/activities",
    package="activities",
    metadata=metadata_with_messaging(),
    topics=("activities.events",),
)

HEARD = metadata_with_messaging()
heard = sa.Table("heard", HEARD, sa.Column("event_id", sa.String, primary_key=True))
counted = sa.Table(
    "counted",
    HEARD,
    sa.Column("activity_id", sa.String, primary_key=True),
    sa.Column("titles", sa.String, nullable=False, index=True),
)
POLICIES = Policies()
COUNTED = Projection("counted", version=1, tables=(counted,))


@POLICIES.on(ActivityCreated)
def note_need(tx: Transaction, received: Received[ActivityCreated]) -> None:
    tx.collect(heard, {"event_id": received.id})
    tx.emit(
        NeedRecorded(
            need_id=received.event.activity_id,
            centre_id=received.event.centre_id,
            zone="z",
            area="a",
            recorded_at=tx.now,
        )
    )


@COUNTED.on(ActivityCreated)
def count_it(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    table = p.table(counted)
    key = received.event.activity_id
    was = p.connection.scalar(sa.select(table.c.titles).where(table.c.activity_id == key)) or ""
    p.upsert(
        table, {"activity_id": key, "titles": was + received.event.title}, key=("activity_id",)
    )


HEARER = Service(
    name="notifications",
    prefix="/notifications",
    package="notifications",
    metadata=HEARD,
    topics=("notifications.events", "network.events"),
    policies=POLICIES,
    projections=(COUNTED,),
)


class House:
    """A teller and a hearer on one broker, each with a store of its own."""

    def __init__(self, kafka: OwnKafka, folder: Path) -> None:
        self.kafka = kafka
        self.folder = folder
        self.clock = SystemClock()
        self.databases: dict[str, str] = {}

    def settings(self, service: Service, user: str = "admin") -> Settings:
        url = self.databases.get(service.name, f"sqlite:///{self.folder / service.name}.db")
        return Settings(
            service=service.name,
            database_url=url,
            kafka=self.kafka.bootstrap,
            kafka_user=user,
            kafka_secret_file=self.kafka.secret_file(user),
        )

    @asynccontextmanager
    async def running(self, service: Service, user: str = "admin") -> AsyncIterator[Engine]:
        settings = self.settings(service, user)
        store = Store(settings.database_url)
        await store.write(lambda c: service.metadata.create_all(c))
        engine = Engine(service, store, settings, self.clock, SystemIds(self.clock))
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()
            await store.close()

    async def make_topics_anew(self, *names: str) -> None:
        """Deleted and provisioned again, by somebody who asks no service."""

        await asyncio.to_thread(self.kafka.delete_topics, names)
        await asyncio.to_thread(self.kafka.provision)


async def tell(engine: Engine, activity: str, title: str) -> None:
    def command(tx: Transaction) -> None:
        tx.emit(
            ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=tx.now)
        )

    await engine.transact(command, centre="c")


async def titles(engine: Engine) -> dict[str, str]:
    rows = await engine.store.read(
        lambda c: c.execute(sa.select(counted.c.activity_id, counted.c.titles)).all()
    )
    return dict(map(tuple, rows))


async def number(engine: Engine, table: sa.Table) -> int:
    return await engine.store.read(
        lambda c: c.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    )


def is_heard(engine: Engine, expected: dict[str, str]) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return await titles(engine) == expected

    return probe
