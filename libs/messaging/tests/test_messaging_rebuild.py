"""A rebuilt read model is what the live one would be, and its tables what the migrations know."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import messaging.rebuild
from messaging import Projection
from messaging.envelope import Item, Record, decode
from messaging.outcome import Partition
from messaging.rebuild import NEARER, Progress, Rebuild, TakenOver
from messaging.tables import inbox, place, projection
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds

from .rebuilding import (
    LINES,
    SERVICE,
    BenchLog,
    World,
    begun,
    created,
    lines,
    read,
    schema,
    spoil,
    titles,
)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    World.known = World.able = True
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made


async def test_after_a_swap_the_schema_is_what_it_was_to_the_last_name(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"), created(clock, "3", "b"))
    before = schema(bench)
    assert before[0] == []
    for _ in range(2):
        bench.store.write_now(
            lambda c: c.execute(sa.update(lines).values(titles="spoilt")) and None
        )
        assert await (await begun(bench)).round()
        assert titles(bench) == {"a": "12", "b": "3"}
        assert schema(bench) == before
    bench.deliver(created(clock, "4"))
    assert titles(bench) == {"a": "124", "b": "3"}
    bench.rebuild_equals()


async def test_it_reads_no_further_than_the_live_model(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "1"))
    late = bench.append(bench.record(created(clock, "2")))
    assert await (await begun(bench)).round()
    assert titles(bench) == {"a": "1"}
    bench.settler.settle_all(bench._write, [decode(late)])
    assert titles(bench) == {"a": "12"}, "what the live side had still to come has its effect once"


@pytest.mark.parametrize("pauses", [True, False], ids=["pauses", "never pauses"])
async def test_it_ends_while_traffic_goes_on(bench: Bench, clock: FixedClock, pauses: bool) -> None:
    """Whenever the rest of the log has been read, the live model is further. The transaction of the
    swap reads what it has passed only where that is so each time."""

    class Busy(BenchLog):
        said = 0

        async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
            found = await super().ends(topics)
            if not holding and not (pauses and len(tried) > 1):
                Busy.said += 1
                bench.deliver(created(clock, str(Busy.said % 10)))
            return found

        async def read(
            self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
        ) -> AsyncIterator[Sequence[Record]]:
            read_while_holding.extend(holding)
            async for batch in super().read(starts, ends):
                yield batch

    holding: list[bool] = []
    read_while_holding: list[bool] = []
    tried: list[bool] = []
    bench.deliver(created(clock, "0"))
    work = Rebuild(bench.store, {LINES: Progress()}, Busy(bench), "me")
    await bench.store.write(work.begin)
    finish = work._finish

    def in_the_transaction(connection: sa.Connection, **what: Any) -> bool:
        tried.append(True)
        holding.append(True)
        try:
            return finish(connection, **what)
        finally:
            holding.clear()

    work._finish = in_the_transaction  # type: ignore[method-assign]
    assert await work.round()
    assert titles(bench) == {"a": "".join(str(n % 10) for n in range(Busy.said + 1))}
    assert len(tried) == (3 if pauses else NEARER + 1)
    assert bool(read_while_holding) is not pauses
    bench.rebuild_equals()


async def test_little_is_left_for_the_transaction_of_the_swap(
    bench: Bench, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much the live side has passed since: the store is let go while that is filled in."""
    monkeypatch.setattr(messaging.rebuild, "NEAR", 2)
    bench.deliver(created(clock, "0"))
    work = await begun(bench)
    finish, fill = work._finish, work._filler.fill
    holding: list[bool] = []
    at_once: list[int] = []

    def in_the_transaction(connection: sa.Connection, **what: Any) -> bool:
        holding.append(True)
        try:
            return finish(connection, **what)
        finally:
            holding.clear()

    def counted(connection: sa.Connection, items: Sequence[Item]) -> None:
        if holding:
            at_once.append(len(items))
        fill(connection, items)

    look = work._look

    async def looked(there: dict[Partition, int]) -> list[Partition]:
        found = await look(there)
        if bench.log[-1].offset < 5:
            bench.deliver(*(created(clock, str(n)) for n in range(1, 8)), twice=False)
        return found

    work._finish = in_the_transaction  # type: ignore[method-assign]
    work._filler.fill = counted  # type: ignore[method-assign]
    work._look = looked  # type: ignore[assignment, method-assign]
    assert await work.round()
    assert titles(bench) == {"a": "01234567"}
    assert at_once == [0]
    bench.rebuild_equals()


async def test_what_an_earlier_build_has_begun_without_indexes_is_swapped_in(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"))
    before = schema(bench)
    await begun(bench)

    def without(connection: sa.Connection) -> None:
        for index in sa.inspect(connection).get_indexes("lines_rebuild"):
            connection.execute(sa.text(f'DROP INDEX "{index["name"]}"'))

    if bench.store.dialect == "sqlite":
        bench.store.write_now(without)
    bench.deliver(created(clock, "2"))
    assert await (await begun(bench)).round()
    assert titles(bench) == {"a": "12"}
    assert schema(bench) == before


async def test_what_is_tried_again_meanwhile_has_its_effect(
    bench: Bench, clock: FixedClock
) -> None:
    World.known = False
    bench.deliver(created(clock, "1"), created(clock, "later"), created(clock, "3"))
    bench.deliver(*(created(clock, str(n), "b") for n in range(4)))
    work = await begun(bench)
    live = bench.read(lambda c: c.execute(sa.select(place).where(place.c.side == "in")).all())
    bench.store.write_now(
        lambda c: c.execute(sa.update(place).where(place.c.side == "in").values(stamp=1)) and None
    )
    assert not await work.round(), "a place in another log is no place to swap at"
    World.known = True
    clock.advance(timedelta(minutes=2))
    bench.retry()
    assert titles(bench) == {"a": "1later3", "b": "0123"}
    bench.store.write_now(
        lambda c: (
            c.execute(sa.update(place).where(place.c.side == "in").values(stamp=live[0].stamp))
            and None
        )
    )
    assert await work.round()
    assert titles(bench) == {"a": "1later3", "b": "0123"}


async def test_what_was_tried_again_comes_before_what_came_after_it(
    bench: Bench, clock: FixedClock
) -> None:
    World.known = False
    bench.deliver(created(clock, "1"), created(clock, "later"), created(clock, "3"))
    work = await begun(bench)
    read(bench, work, *bench.log)
    World.known = True
    clock.advance(timedelta(minutes=2))
    bench.retry()
    bench.deliver(created(clock, "4"))
    assert await work.round()
    assert titles(bench) == {"a": "1later34"}


def said_in(
    bench: Bench, clock: FixedClock, *where: tuple[str, int], activity: str = "a"
) -> list[Record]:
    """One event of a key for each title, appended to the log of a partition (one that was added
    takes over keys); nobody has read them yet."""
    return [
        bench.append(bench.record(created(clock, title, activity))._replace(partition=partition))
        for title, partition in where
    ]


def settle(bench: Bench, *records: Record) -> None:
    """The live side reads on from a seek at the beginning of each partition."""
    for record in records:
        if (record.topic, record.partition) not in bench.settler.expected:
            bench.settler.settle_all(bench._write, [decode(record)])
        bench.settler.settle_all(bench._write, [decode(record)])


async def test_what_waited_for_another_partition_comes_behind_it_here_too(
    bench: Bench, clock: FixedClock
) -> None:
    """The live side passes 2 while it waits for 1, which is settled before the rebuild reads it."""
    one, two, three = said_in(bench, clock, ("1", 0), ("2", 1), ("3", 1))
    settle(bench, two)
    work = await begun(bench)
    read(bench, work, two)
    settle(bench, one, three)
    assert titles(bench) == {"a": "123"}
    read(bench, work, three)
    read(bench, work, one)
    assert await work.round()
    assert titles(bench) == {"a": "123"}


@pytest.mark.parametrize("seed", range(12))
async def test_however_far_it_reads_in_each_partition_keys_keep_their_order(
    bench: Bench, clock: FixedClock, seed: int
) -> None:
    """The live side reads partitions as it likes, sets aside what waits or is not possible yet, and
    a rebuild reads behind it as it likes, and is killed now and then."""
    dice = random.Random(seed)
    World.known = False
    for n in range(24):
        title = dice.choice([str(n % 10)] * 9 + ["later"])
        said_in(bench, clock, (title, dice.randrange(3)), activity=dice.choice("ab"))
    live, shadow = [0, 0, 0], [0, 0, 0]
    logs = [[r for r in bench.log if r.partition == n] for n in range(3)]
    work = await begun(bench)
    for _ in range(60):
        n = dice.randrange(3)
        step = dice.choice(["live", "live", "shadow", "shadow", "retry", "kill", "known"])
        if step == "live":
            some = logs[n][live[n] : live[n] + dice.randrange(1, 4)]
            live[n] += len(some)
            settle(bench, *some)
        elif step == "shadow":
            some = logs[n][shadow[n] : min(live[n], shadow[n] + dice.randrange(1, 4))]
            shadow[n] += len(some)
            read(bench, work, *some)
        elif step == "retry":
            clock.advance(timedelta(minutes=2))
            bench.retry()
        elif step == "kill":
            work = await begun(bench)
            shadow = [0, 0, 0]
            for (_, number), at in work._filler.reached.items():
                shadow[number] = at.offset + 1
        elif n == 0:
            World.known = True
    World.known = True
    for n, log in enumerate(logs):
        settle(bench, *log[live[n] :])
    for _ in range(6):
        clock.advance(timedelta(minutes=30))
        bench.retry()
    assert bench.set_aside() == []
    expected = titles(bench)
    assert await work.round()
    assert titles(bench) == expected


async def test_while_the_log_is_read_again_nothing_is_swapped(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"))
    bench.store.write_now(
        lambda c: (
            c.execute(
                sa.update(place)
                .where(place.c.side == "in")
                .values(record_offset=-1, event_id="", stamp=0)
            )
            and None
        )
    )
    assert not await (await begun(bench)).round()


@pytest.mark.parametrize("sent_again", [0, 1, 2])
async def test_a_log_that_is_filled_again_is_waited_for(
    bench: Bench, clock: FixedClock, sent_again: int
) -> None:
    """Nothing of it may be there yet, or its beginning, which the live side has met again: what is
    known there by its id never comes to the new model. What does not come is not waited for."""
    bench.deliver(created(clock, "1"), created(clock, "2"), created(clock, "3"), twice=False)
    anew = [with_era(record, 1) for record in bench.log]
    del bench.log[:]
    await spoil_and_send(bench, anew[:sent_again])
    work = await begun(bench)
    assert not await work.round()
    assert titles(bench) == {"a": "spoilt"}
    await spoil_and_send(bench, anew[sent_again:])
    assert await work.round()
    assert titles(bench) == {"a": "123"}


async def test_what_does_not_come_again_is_not_waited_for_for_ever(
    bench: Bench, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"), twice=False)
    anew = [with_era(record, 1) for record in bench.log]
    del bench.log[:]
    await spoil_and_send(bench, anew[1:])
    work = await begun(bench)
    assert not await work.round()
    monkeypatch.setattr(messaging.rebuild, "COMES_WITHIN", 0.0)
    assert await work.round()
    assert titles(bench) == {"a": "2"}


def with_era(record: Record, era: int) -> Record:
    kept = [(name, value) for name, value in record.headers if name != "era"]
    return record._replace(headers=[*kept, ("era", str(era).encode())])


async def spoil_and_send(bench: Bench, records: Sequence[Record]) -> None:
    """These are in the log, and the live side has met them."""
    spoil(bench)
    for record in records:
        offset = len(bench.log)
        bench.log.append(record._replace(offset=offset, stamp=record.stamp + 60_000))
    for _ in range(2):  # the first time it is only seen that it begins again
        bench.settler.settle_all(bench._write, [decode(record) for record in bench.log])


async def test_of_two_that_rebuild_the_later_goes_on_and_the_other_leaves(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"))
    first = await begun(bench, "first")
    second = await begun(bench, "second")
    with pytest.raises(TakenOver):
        await first.round()
    assert await second.round()
    assert titles(bench) == {"a": "12"}


async def test_a_projection_swapped_in_elsewhere_is_filled_from_then_on(
    bench: Bench, clock: FixedClock
) -> None:
    bench.store.write_now(
        lambda c: (
            c.execute(
                sa.update(projection).where(projection.c.name == "lines").values(state="building")
            )
            and None
        )
    )
    bench.deliver(created(clock, "1"))
    assert titles(bench) == {}
    assert await (await begun(bench)).round()
    bench.deliver(created(clock, "2"))
    assert titles(bench) == {"a": "12"}


async def test_an_orphan_that_was_applied_after_an_hour_is_in_the_rebuilt_model_once(
    bench: Bench, clock: FixedClock
) -> None:
    bench.record(created(clock, "lost"))
    bench.settle([bench.record(created(clock, t)) for t in "23"])
    clock.advance(timedelta(minutes=61))
    bench.retry()
    bench.deliver(created(clock, "4"))
    for _ in range(2):
        assert await (await begun(bench)).round()
        assert titles(bench) == {"a": "234"}
    assert bench.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(inbox))) == 3


def test_a_read_model_refers_to_no_other_table() -> None:
    other = sa.MetaData()
    sa.Table("whole", other, sa.Column("id", sa.Integer, primary_key=True))
    part = sa.Table("part", other, sa.Column("id", sa.ForeignKey("whole.id"), primary_key=True))
    with pytest.raises(ValueError, match="no references"):
        Projection("parts", version=1, tables=(part,))


class Killed(Exception):  # noqa: N818 - it names what happened
    pass


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed"])
@pytest.mark.parametrize("behind", [1, 2, 3, 4], ids=["look", "filling", "tail", "second look"])
async def test_a_log_that_is_made_anew_between_two_readings_of_a_round_is_seen(
    bench: Bench, clock: FixedClock, behind: int, killed: bool
) -> None:
    """It holds more than the old one did, before the place where the shadow stood, and has grown
    past it: the next record is there, as if nothing had happened."""

    class Anew(BenchLog):
        readings = 0

        async def read(
            self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
        ) -> AsyncIterator[Sequence[Record]]:
            async for batch in super().read(starts, ends):
                yield batch
            Anew.readings += 1
            if killed and Anew.readings == behind + 1:
                raise Killed
            if Anew.readings == behind:
                bench.log[:] = anew
                for _ in range(2):  # the first time it is only seen that it begins again
                    bench.settler.settle_all(bench._write, [decode(record) for record in anew])

    bench.deliver(*(created(clock, str(n)) for n in range(6)), twice=False)
    old = list(bench.log)
    more = bench.record(created(clock, "more", "d"), era=1)
    assert more.partition == old[0].partition
    anew = [
        record._replace(
            offset=offset,
            stamp=old[-1].stamp + 60_000,
            headers=[(n, b"1" if n == "era" else value) for n, value in record.headers],
        )
        for offset, record in enumerate([more, *old, bench.record(created(clock, "6"))])
    ]

    async def again() -> Rebuild:
        work = Rebuild(bench.store, {LINES: Progress()}, Anew(bench), "me")
        await bench.store.write(work.begin)
        return work

    work = await again()
    read(bench, work, *old[:3])
    done = False
    for _ in range(5):
        try:
            done = done or await work.round()
        except Killed:
            work = await again()
    assert done
    assert titles(bench) == {"a": "0123456", "d": "more"}
    bench.rebuild_equals()
