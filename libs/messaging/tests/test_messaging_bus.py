"""Two small services over the real Kafka: what one tells, the other hears, through every mishap."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from structlog.testing import capture_logs

from contracts.activities import ActivityCreated
from contracts.network import NeedRecorded
from messaging import (
    Policies,
    Projection,
    ProjectionTransaction,
    Received,
    Service,
    consumer,
    marks,
    restoring,
)
from messaging.bus import Bus
from messaging.engine import Engine
from messaging.metrics import EngineMetrics
from messaging.tables import inbox, metadata_with_messaging, outbox, set_aside
from messaging.transaction import Transaction
from runtime.clock import SystemClock
from runtime.ids import SystemIds
from runtime.settings import Settings
from runtime.store import Store
from runtime.telemetry import Metrics
from runtime.testing import eventually_async, postgresql_database
from vicinato.kafka.jars import JarError, fetch
from vicinato.kafka.topics import Topics
from vicinato.testing import OwnKafka, unavailable

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

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

    def settings(self, service: Service) -> Settings:
        url = self.databases.get(service.name, f"sqlite:///{self.folder / service.name}.db")
        return Settings(
            service=service.name,
            database_url=url,
            kafka=self.kafka.bootstrap,
            kafka_user="admin",
            kafka_secret_file=self.kafka.secret_file("admin"),
        )

    @asynccontextmanager
    async def running(self, service: Service) -> AsyncIterator[Engine]:
        settings = self.settings(service)
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


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnKafka]:
    """One broker for these tests, which hurt it and bring it back."""
    try:
        fetch()
    except JarError as error:
        unavailable(str(error))
    made = OwnKafka.start(tmp_path_factory.mktemp("broker"))
    made.provision()
    yield made
    made.kill()


@pytest.fixture
async def house(broker: OwnKafka, tmp_path: Path) -> House:
    """With empty topics."""
    made = House(broker, tmp_path)
    await made.make_topics_anew(*(topic.name for topic in Topics.read().topics))
    return made


async def test_a_fact_arrives_and_a_reaction_goes_back_on_the_bus(house: House) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for n in range(20):
            await tell(teller, f"a{n % 4}", chr(97 + n))
        wanted = {f"a{k}": "".join(chr(97 + n) for n in range(k, 20, 4)) for k in range(4)}
        await eventually_async(is_heard(hearer, wanted), within=20, why="twenty facts arrive")
        assert await number(hearer, heard) == 20

        async def all_sent() -> bool:
            rows = await hearer.store.read(
                lambda c: c.scalars(sa.select(outbox.c.record_offset)).all()
            )
            return len(rows) == 20 and None not in rows

        await eventually_async(all_sent, within=10, why="the reactions are sent and marked")
        metrics = Metrics()
        figures = EngineMetrics(hearer, metrics)
        await figures.refresh()
        page = metrics.render().decode()
        assert "vicinato_outbox_unsent 0.0" in page
        assert "vicinato_bus_connected 1.0" in page
        assert "vicinato_cluster_info{cluster=" in page
        assert 'vicinato_consumer_lag{partition="0",topic=' in page
        assert hearer.relay is not None
        hearer.relay.cluster = "another"
        await figures.refresh()
        (told,) = re.findall(r"^vicinato_cluster_info.*", metrics.render().decode(), re.MULTILINE)
        assert "another" in told  # and the one that was left is told no more


async def test_with_the_bus_away_commands_work_and_nothing_is_lost(
    house: House,
) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        await tell(teller, "a", "1")
        await eventually_async(is_heard(hearer, {"a": "1"}), within=20, why="the first arrives")
        house.kafka.kill()
        for title in "2345":
            await asyncio.wait_for(tell(teller, "a", title), 5)
        house.kafka.restart()
        await eventually_async(is_heard(hearer, {"a": "12345"}), within=60, why="all arrive")


async def test_the_loss_of_the_whole_bus_costs_time_and_no_facts(
    house: House,
) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for title in "123":
            await tell(teller, "a", title)
        await eventually_async(is_heard(hearer, {"a": "123"}), within=20, why="three arrive")
        house.kafka.wipe()
        house.kafka.restart()
        house.kafka.provision()
        await tell(teller, "a", "4")
        await tell(teller, "b", "5")
        await eventually_async(
            is_heard(hearer, {"a": "1234", "b": "5"}), within=90, why="the rest arrives after it"
        )
        assert await number(hearer, heard) == 5, "nothing had its effect twice"
        async with AsyncExitStack() as stack:
            assert teller.bus is not None
            reader = await stack.enter_async_context(teller.bus.reader())
            ends = await reader.ends(["activities.events"])
            ids = {
                header
                async for batch in reader.read({}, ends)
                for record in batch
                for name, header in record.headers
                if name == "ce_type" and header.startswith(b"activities.")
            }
            assert ids, "the outbox was sent again into the new log"


async def test_a_rebuild_equals_what_was_there(house: House) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for n in range(30):
            await tell(teller, f"a{n % 3}", str(n % 10))
        wanted = {f"a{k}": "".join(str(n % 10) for n in range(k, 30, 3)) for k in range(3)}
        await eventually_async(is_heard(hearer, wanted), within=20, why="thirty facts arrive")
        await hearer.store.write(
            lambda c: c.execute(sa.update(counted).values(titles="spoilt")) and None
        )
        progress = hearer.begin_rebuild("counted")

        async def rebuilt() -> bool:
            return progress.done

        await eventually_async(rebuilt, within=20, why="the rebuild ends")
        assert await titles(hearer) == wanted
        await tell(teller, "a0", "x")
        wanted["a0"] += "x"
        await eventually_async(is_heard(hearer, wanted), within=20, why="the model goes on")


async def test_a_replay_and_a_reread_change_nothing(house: House) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for title in "12345":
            await tell(teller, "a", title)
        await eventually_async(is_heard(hearer, {"a": "12345"}), within=20, why="five arrive")
        assert await teller.replay("activities.events") == 5
        await hearer.reread()
        await tell(teller, "a", "6")
        await eventually_async(is_heard(hearer, {"a": "123456"}), within=30, why="the sixth comes")
        assert await number(hearer, heard) == 6
        assert await number(hearer, inbox) == 6


def put_back(store: Path) -> None:
    """Mark a store as one that comes from a backup."""
    opened = Store(f"sqlite:///{store}")
    last = opened.read_now(marks.last_row)
    mark = restoring.Restoring("a-backup", datetime(2026, 11, 1, tzinfo=UTC), last)
    opened.write_now(lambda c: restoring.mark(c, mark))
    opened.close_now()


async def test_a_restored_source_adopts_what_the_bus_knows(house: House, tmp_path: Path) -> None:
    async with house.running(HEARER) as hearer:
        async with house.running(TELLER) as teller:
            await tell(teller, "a", "1")
            await eventually_async(is_heard(hearer, {"a": "1"}), within=20, why="the first arrives")
        backup = (tmp_path / "activities.db").read_bytes()
        async with house.running(TELLER) as teller:
            await tell(teller, "a", "2")
            await eventually_async(is_heard(hearer, {"a": "12"}), within=20, why="the second too")
        for left in tmp_path.glob("activities.db*"):
            left.unlink()
        (tmp_path / "activities.db").write_bytes(backup)
        put_back(tmp_path / "activities.db")
        async with house.running(TELLER) as teller:

            async def back() -> bool:
                return await teller.store.read(restoring.recovered) is not None

            await eventually_async(back, within=20, why="the forgotten fact is adopted")
            found = await teller.store.read(restoring.recovered)
            assert found == restoring.Recovered({ActivityCreated.ce_type(): 1}, {})
            assert await number(teller, outbox) == 2
            assert not teller.opened.is_set()
            await teller.store.write(restoring.lift)
            async with asyncio.timeout(20):
                await teller.opened.wait()
            await tell(teller, "a", "3")
            await eventually_async(is_heard(hearer, {"a": "123"}), within=20, why="the third too")


@pytest.mark.parametrize("at_once", [1_000, 2])
async def test_what_does_not_fit_the_topic_holds_up_its_own_key_and_no_other(
    house: House, at_once: int
) -> None:
    """A batch that holds it is refused whole: what lay beside it must be there all the same."""
    told = [("a", "1"), ("b", "2" * 600), ("c", "3"), ("b", "4"), ("a", "5")]

    def tell_all(tx: Transaction) -> None:
        for activity, title in told:
            tx.emit(
                ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=tx.now)
            )

    async with house.running(HEARER) as hearer:
        await asyncio.to_thread(_limit_records, house, "activities.events", 1_000)
        with capture_logs() as logs:
            async with house.running(TELLER) as teller:
                assert teller.relay is not None
                teller.relay._at_once = at_once
                await teller.transact(tell_all, centre="c")
                wanted = {"a": "15", "c": "3"}
                await eventually_async(is_heard(hearer, wanted), within=30, why="the others pass")
                assert teller.relay.blocked == {("activities.events", "b")}
        assert "relay.log_cut" not in {line["event"] for line in logs}
        await asyncio.to_thread(_limit_records, house, "activities.events", 1_048_588)
        async with house.running(TELLER):
            wanted["b"] = "2" * 600 + "4"
            await eventually_async(is_heard(hearer, wanted), within=30, why="b comes, in order")


async def test_a_topic_made_anew_under_running_services_comes_back_whole(house: House) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for n in range(6):
            await tell(teller, f"a{n % 3}", str(n))
        wanted = {"a0": "03", "a1": "14", "a2": "25"}
        await eventually_async(is_heard(hearer, wanted), within=20, why="six arrive")
        await house.make_topics_anew("activities.events")
        for n in range(6, 9):
            await tell(teller, f"a{n % 3}", str(n))
        wanted = {"a0": "036", "a1": "147", "a2": "258"}
        await eventually_async(is_heard(hearer, wanted), within=60, why="nine arrive in order")
        assert await number(hearer, heard) == 9

        async def whole() -> bool:
            assert teller.bus is not None
            async with teller.bus.reader() as reader:
                ends = await reader.ends(["activities.events"])
            return sum(ends.values()) >= 9

        await eventually_async(whole, within=30, why="the new log has all nine")


async def test_two_replicas_on_postgresql_while_everything_moves(house: House) -> None:
    """Traffic of 40 keys, while the broker is frozen, partitions are added, a replica goes and
    comes back, and the read model is rebuilt."""
    with postgresql_database() as teller_url, postgresql_database() as hearer_url:
        house.databases = {TELLER.name: teller_url, HEARER.name: hearer_url}
        async with house.running(TELLER) as teller, house.running(HEARER) as first:
            told: dict[str, list[str]] = {f"k{n}": [] for n in range(40)}
            over = asyncio.Event()

            async def talk(keys: list[str]) -> None:
                for n in itertools.count():
                    if over.is_set():
                        return
                    key = keys[n % len(keys)]
                    await tell(teller, key, f"{n},")
                    told[key].append(f"{n},")
                    # A rate, so that what is left at the end does not depend on the machine.
                    await asyncio.sleep(0.02)

            async def talks_on(number: int) -> None:
                wanted = sum(map(len, told.values())) + number
                await eventually_async(
                    lambda: sum(map(len, told.values())) >= wanted, within=60, why="traffic flows"
                )

            async with asyncio.TaskGroup() as talking, asyncio.timeout(160):
                talks = [
                    talking.create_task(talk([f"k{n}" for n in range(at, 40, 4)]))
                    for at in range(4)
                ]
                async with house.running(HEARER) as second:
                    await eventually_async(
                        lambda: first.connected and second.connected, within=30, why="both read"
                    )
                    await talks_on(60)
                    house.kafka.freeze()
                    await talks_on(60)
                    house.kafka.thaw()
                    await asyncio.to_thread(_add_partitions, house, "activities.events", 6)
                    progress = first.begin_rebuild("counted")
                    await talks_on(120)
                await talks_on(60)
                async with house.running(HEARER) as second:
                    await talks_on(120)
                    await eventually_async(
                        lambda: progress.done, within=60, why="the read model is rebuilt"
                    )
                    over.set()
                    await asyncio.gather(*talks)
                    count = sum(map(len, told.values()))

                    async def all_came() -> bool:
                        return await number(second, heard) >= count

                    await eventually_async(all_came, within=60, why="all arrive")
                    wanted = {key: "".join(its) for key, its in told.items() if its}
                    assert await titles(second) == wanted
                    assert await number(second, heard) == count
                    assert await number(second, inbox) == count
                    assert await number(second, set_aside) == 0
                    assert progress.failed == ""
                    deadlocks = await second.store.read(
                        lambda c: c.scalar(
                            sa.text(
                                "SELECT deadlocks FROM pg_stat_database"
                                " WHERE datname = current_database()"
                            )
                        )
                    )
                    assert deadlocks == 0


async def test_a_replica_with_nothing_to_read_waits_for_its_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three partitions, four replicas: the spare one asks now and then and stays in the group, and
    takes over what another leaves."""
    asked: list[int] = []

    async def members(bus: Bus, group: str) -> int:
        asked.append(await members_of(bus, group))
        return asked[-1]

    members_of = Bus.members
    monkeypatch.setattr(Bus, "members", members)
    monkeypatch.setattr(consumer, "ASSIGNMENT_PATIENCE", 1.0)
    with postgresql_database() as url:
        house.databases = {HEARER.name: url}
        async with AsyncExitStack() as stack, house.running(TELLER) as teller:
            first = await stack.enter_async_context(house.running(HEARER))
            async with AsyncExitStack() as others:
                replicas = [
                    first,
                    *[await others.enter_async_context(house.running(HEARER)) for _ in range(3)],
                ]
                await eventually_async(
                    lambda: all(one.connected for one in replicas) and asked[-2:] == [4, 4],
                    within=60,
                    why="one of four has nothing to read",
                )
                with capture_logs() as lines:
                    more = len(asked) + 3
                    await eventually_async(
                        lambda: len(asked) >= more, within=30, why="it asks three times more"
                    )
                assert "consumer.no_assignment" not in [line["event"] for line in lines]
            for n in range(12):
                await tell(teller, f"a{n}", "x")
            wanted = {f"a{n}": "x" for n in range(12)}
            await eventually_async(is_heard(first, wanted), within=60, why="one reads for all")


def _limit_records(house: House, topic: str, most: int) -> None:
    limit = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[limit])
    admin = house.kafka.admin()
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def _add_partitions(house: House, topic: str, count: int) -> None:
    admin = house.kafka.admin()
    for future in admin.create_partitions([NewPartitions(topic, count)]).values():
        future.result(20)
