"""Two small services over the real Kafka: what one tells, the other hears, through every mishap."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from structlog.testing import capture_logs

from contracts.activities import ActivityCreated
from messaging import consumer, marks, restoring
from messaging.bus import Bus, BusAway
from messaging.metrics import EngineMetrics
from messaging.partitioner import partition_of
from messaging.tables import inbox, outbox, outbox_sent
from messaging.transaction import Transaction
from runtime.store import Store
from runtime.telemetry import Metrics
from runtime.testing import eventually_async
from vicinato.testing.brokers import delete_first_records

from .pair import HEARER, TELLER, House, counted, heard, is_heard, number, tell, titles

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


async def test_a_fact_arrives_and_a_reaction_goes_back_on_the_bus(house: House) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for n in range(20):
            await tell(teller, f"a{n % 4}", chr(97 + n))
        wanted = {f"a{k}": "".join(chr(97 + n) for n in range(k, 20, 4)) for k in range(4)}
        await eventually_async(is_heard(hearer, wanted), within=20, why="twenty facts arrive")
        assert await number(hearer, heard) == 20

        async def all_sent() -> bool:
            marked = sa.select(sa.func.count()).select_from(outbox_sent)
            return await hearer.store.read(lambda c: c.scalar(marked)) == 20

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


async def test_a_topic_that_is_deleted_is_missed_within_seconds_and_heard_when_it_is_there_again(
    house: House,
) -> None:
    """Nothing is sent to it meanwhile, and the next look at the log is half a minute away."""
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        await tell(teller, "a", "1")
        await eventually_async(is_heard(hearer, {"a": "1"}), within=20, why="the first is heard")
        await asyncio.to_thread(house.kafka.delete_topics, TELLER.topics)
        await eventually_async(lambda: not teller.connected, within=15, why="it is missed")
        await asyncio.wait_for(tell(teller, "a", "2"), 5)
        await asyncio.to_thread(house.kafka.provision)
        await eventually_async(is_heard(hearer, {"a": "12"}), within=60, why="both are heard")
        await eventually_async(lambda: teller.connected, within=10, why="it is on the bus")
        assert await number(hearer, heard) == 2, "nothing had its effect twice"


async def test_who_may_look_at_a_topic_and_write_nothing_is_not_on_the_bus(house: House) -> None:
    user, (topic,) = "activities", TELLER.topics
    forbidden = _right(user, topic, AclPermissionType.DENY)
    # Who may write nowhere is refused before it may look.
    elsewhere = _right(user, "network.events", AclPermissionType.ALLOW)
    await asyncio.to_thread(house.kafka.provision)
    async with house.running(TELLER, user) as teller:
        relay = teller.relay
        assert relay is not None
        await tell(teller, "a", "1")
        await eventually_async(lambda: teller.connected, within=20, why="it is on the bus")
        await asyncio.to_thread(_give, house, [forbidden, elsewhere])
        await tell(teller, "a", "2")
        await eventually_async(lambda: not teller.connected, within=20, why="it is refused")
        seen = set()
        for _ in range(3):
            relay.reconciled.clear()
            while not relay.reconciled.is_set():
                seen.add(teller.connected)
                await asyncio.sleep(0.001)
        assert seen == {False}, "though it connects anew and reads the log"
        await asyncio.to_thread(house.kafka.provision)
        await eventually_async(lambda: teller.connected, within=20, why="it is taken")


async def test_first_records_that_were_deleted_are_sent_again(house: House) -> None:
    """Nobody had heard them: the last one is there, so it is the same log for who looks there."""

    async with house.running(TELLER) as teller:
        for title in "123456":
            await tell(teller, "a", title)

        async def sent() -> bool:
            return await teller.store.read(marks.count_unsent) == 0

        await eventually_async(sent, within=10, why="all are sent")
    delete_first_records(house.kafka.admin(), TELLER.topics[0], 0.7)
    async with house.running(TELLER), house.running(HEARER) as hearer:
        await eventually_async(is_heard(hearer, {"a": "123456"}), within=30, why="all are heard")


async def test_a_log_that_is_made_anew_while_it_is_read_is_read_no_further(house: House) -> None:
    """The client begins at the first record of the new one, as if nothing were."""
    topic = TELLER.topics[0]
    bus = Bus.of(house.settings(TELLER))
    assert bus is not None

    async def fill(records: int) -> None:
        producer = bus.producer()
        await producer.start()
        for _ in range(records):
            await producer.send(topic, value=bytes(50_000), key=b"a", partition=0)
        await producer.stop()

    await fill(500)  # some 25 MB, of which the client fetches 8 ahead at most
    offsets: list[int] = []
    async with bus.reader() as reader:
        records = reader.read({}, {(topic, 0): 500})

        async def read_on() -> None:
            async for batch in records:
                offsets.extend(record.offset for record in batch)

        offsets.extend(record.offset for record in await anext(records))
        await house.make_topics_anew(topic)
        await fill(3)
        with pytest.raises(BusAway, match="is another log now"):
            await read_on()
    assert 0 < len(offsets) < 500
    assert offsets == list(range(len(offsets)))


async def test_a_rebuild_equals_what_was_there(house: House) -> None:
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        for n in range(30):
            await tell(teller, f"a{n % 3}", str(n % 10))
        wanted = {f"a{k}": "".join(str(n % 10) for n in range(k, 30, 3)) for k in range(3)}
        await eventually_async(is_heard(hearer, wanted), within=20, why="thirty facts arrive")
        await hearer.store.write(
            lambda c: c.execute(sa.update(counted).values(titles="spoilt")) and None
        )
        progress = hearer.rebuilds.begin("counted", hearer.bus)

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


async def test_a_second_replica_of_a_restored_source_opens_with_the_first(
    house: House, tmp_path: Path
) -> None:
    """Its relay stands by, and never looks at the log."""
    async with house.running(TELLER) as teller:
        await tell(teller, "a", "1")
    put_back(tmp_path / "activities.db")
    async with (
        house.running(HEARER) as hearer,
        house.running(TELLER) as one,
        house.running(TELLER) as two,
    ):

        async def back() -> bool:
            return await one.store.read(restoring.recovered) is not None

        await eventually_async(back, within=20, why="one of them has recovered")
        await one.store.write(restoring.lift)
        for each in (one, two):
            async with asyncio.timeout(20):
                await each.opened.wait()
        await tell(two, "a", "2")
        await eventually_async(is_heard(hearer, {"a": "12"}), within=20, why="both are open")


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
        await asyncio.to_thread(_configure, house, "activities.events", "max.message.bytes", "1000")
        with capture_logs() as logs:
            async with house.running(TELLER) as teller:
                assert teller.relay is not None
                teller.relay._at_once = at_once
                await teller.transact(tell_all, centre="c")
                wanted = {"a": "15", "c": "3"}
                await eventually_async(is_heard(hearer, wanted), within=30, why="the others pass")
                assert teller.relay.blocked == {("activities.events", "b")}
        assert "relay.log_cut" not in {line["event"] for line in logs}
        whole = (house, "activities.events", "max.message.bytes", "1048588")
        await asyncio.to_thread(_configure, *whole)
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


async def test_a_partition_that_cannot_be_read_holds_up_no_other(house: House) -> None:
    """Compressed in a way that the client does not know: a poll of all partitions fails, and drops
    what it had taken of the others, whose positions have moved."""
    topic = TELLER.topics[0]
    keys: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for n in range(40):
        keys[partition_of(f"a{n}".encode(), [0, 1, 2])].append(f"a{n}")
    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        wanted = {}
        for name in (keys[0][0], keys[1][0], keys[2][0]):
            await tell(teller, name, "1")
            wanted[name] = "1"
        await eventually_async(is_heard(hearer, wanted), within=20, why="each partition is read")

        async def sent() -> bool:
            return await teller.store.read(marks.count_unsent) == 0

        with capture_logs() as logs:
            await asyncio.to_thread(_configure, house, topic, "compression.type", "lz4")
            await tell(teller, keys[1][1], "2" * 500)
            await eventually_async(sent, within=10, why="it is sent")
            await asyncio.to_thread(_configure, house, topic, "compression.type", "producer")
            for n in range(2, 12):
                for name in (keys[0][n % len(keys[0])], keys[2][n % len(keys[2])]):
                    await tell(teller, name, str(n % 10))
                    wanted[name] = wanted.get(name, "") + str(n % 10)
            await eventually_async(is_heard(hearer, wanted), within=40, why="the others come")
        assert not hearer.connected, "it says so while it goes on with the others"
        unreadable = [line for line in logs if line["event"] == "consumer.cannot_read"]
        assert {(line["topic"], line["partition"]) for line in unreadable} == {(topic, 1)}


async def test_who_gets_nothing_of_what_is_there_says_so_until_it_comes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a length that Kafka's disk has damaged: no error, and no record."""
    for name, seconds in (("STUCK_AFTER", 0.5), ("LOOK_WHEN_BEHIND", 0.1), ("LOOK_EVERY", 0.1)):
        monkeypatch.setattr(consumer, name, seconds)

    async def nothing(*_: object, **__: object) -> dict[object, object]:
        await asyncio.sleep(0.1)
        return {}

    async with house.running(TELLER) as teller, house.running(HEARER) as hearer:
        with monkeypatch.context() as deaf:
            deaf.setattr(consumer._Patient, "getmany", nothing)
            await tell(teller, "a", "1")

            def says_so() -> bool:
                return any(one._assigned and not one.connected for one in hearer.subscriptions)

            await eventually_async(says_so, within=30, why="it has its partitions, and says so")
        await eventually_async(is_heard(hearer, {"a": "1"}), within=30, why="it comes")
        await eventually_async(lambda: hearer.connected, within=10, why="all is well")


def _right(user: str, topic: str, permission: AclPermissionType) -> AclBinding:
    """To write to a topic, or that it may not."""
    return AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.WRITE,
        permission,
    )


def _give(house: House, rights: list[AclBinding]) -> None:
    admin = house.kafka.admin()
    for future in admin.create_acls(rights).values():
        future.result(20)


def _configure(house: House, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = house.kafka.admin()
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)
