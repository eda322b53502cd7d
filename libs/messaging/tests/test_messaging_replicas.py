"""Several replicas of a service on one store and one log, on the real PostgreSQL and Kafka."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest
import sqlalchemy as sa
from confluent_kafka.admin import NewPartitions
from structlog.testing import capture_logs

from messaging import consumer
from messaging.bus import Bus
from messaging.engine import Engine
from messaging.tables import inbox, set_aside
from runtime.testing import eventually_async, postgresql_database

from .pair import HEARER, TELLER, House, heard, is_heard, number, tell, titles

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


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
                    progress = first.rebuilds.begin("counted", first.bus)
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many members the group had, each time that a replica without partitions asked for it,
    which it does sooner here than in a house."""
    answers: list[int] = []

    async def members(bus: Bus, group: str) -> int:
        answers.append(await members_of(bus, group))
        return answers[-1]

    members_of = Bus.members
    monkeypatch.setattr(Bus, "members", members)
    monkeypatch.setattr(consumer, "ASSIGNMENT_PATIENCE", 1.0)
    return answers


async def one_is_spare(replicas: list[Engine], asked: list[int]) -> None:
    """Wait until one of four replicas has seen that three partitions leave it nothing to read."""
    await eventually_async(
        lambda: all(one.connected for one in replicas) and asked[-2:] == [4, 4],
        within=60,
        why="all four are in the group, and one has nothing to read",
    )


async def test_a_replica_with_nothing_to_read_waits_for_its_turn(
    house: House, asked: list[int]
) -> None:
    """The spare one asks now and then and stays in the group, and takes over what others leave."""
    with postgresql_database() as url:
        house.databases = {HEARER.name: url}
        async with AsyncExitStack() as stack, house.running(TELLER) as teller:
            first = await stack.enter_async_context(house.running(HEARER))
            async with AsyncExitStack() as others:
                replicas = [
                    first,
                    *[await others.enter_async_context(house.running(HEARER)) for _ in range(3)],
                ]
                await one_is_spare(replicas, asked)
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


async def test_a_replica_that_cannot_ask_whether_it_is_spare_begins_anew(
    house: House, asked: list[int]
) -> None:
    """A broker that is gone answers nobody: the spare one does not rest on what it knew before,
    and is in the group again when the broker is."""
    with postgresql_database() as url:
        house.databases = {HEARER.name: url}
        async with AsyncExitStack() as stack, house.running(TELLER) as teller:
            replicas = [await stack.enter_async_context(house.running(HEARER)) for _ in range(4)]
            await one_is_spare(replicas, asked)
            with capture_logs() as lines:
                house.kafka.kill()

                def is_made_anew() -> bool:
                    events = [line["event"] for line in lines]
                    return {"consumer.cannot_look", "consumer.no_assignment"} <= set(events)

                await eventually_async(is_made_anew, within=60, why="it cannot ask")
            house.kafka.restart()
            await eventually_async(
                lambda: all(one.connected for one in replicas), within=60, why="all four are back"
            )
            await tell(teller, "a", "x")
            await eventually_async(is_heard(replicas[0], {"a": "x"}), within=60, why="it is heard")


def _add_partitions(house: House, topic: str, count: int) -> None:
    admin = house.kafka.admin()
    for future in admin.create_partitions([NewPartitions(topic, count)]).values():
        future.result(20)
