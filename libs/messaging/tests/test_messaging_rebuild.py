"""A rebuilt read model is what the live one would be, and its tables what the migrations know."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import autogenerate
from alembic.migration import MigrationContext

from contracts.activities import ActivityCreated
from messaging import NotYet, Policies, Projection, ProjectionTransaction, Received, Service
from messaging.envelope import Item, Record, decode
from messaging.filling import Filler
from messaging.rebuild import Progress, Rebuild, TakenOver, begin_together, rebuild
from messaging.tables import inbox, metadata_with_messaging, place, projection
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.migrations import OPTIONS

METADATA = metadata_with_messaging()
lines = sa.Table(
    "lines",
    METADATA,
    sa.Column("activity_id", sa.String(40), primary_key=True),
    sa.Column("titles", sa.String(200), nullable=False, index=True),
    sa.Column("first", sa.String(40), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.UniqueConstraint("activity_id", "number", name="one_number_of_a_line"),
    sa.UniqueConstraint("first", "activity_id"),
    sa.CheckConstraint("number > 0", name="something_was_heard"),
    sa.Index("lines_by_number", "number", "activity_id"),
    sa.Index(
        "lines_that_go_on_and_on_with_a_very_long_name_indeed",
        "number",
        unique=False,
        sqlite_where=sa.text("number > 1"),
        postgresql_where=sa.text("number > 1"),
    ),
)
tally = sa.Table(
    "tally",
    METADATA,
    sa.Column("activity_id", sa.String(40), primary_key=True),
    sa.Column("events", sa.Integer, nullable=False),
)
POLICIES = Policies()
TALLY = Projection("tally", version=1, tables=(tally,))
LINES = Projection("lines", version=2, tables=(lines,))


class World:
    known = True


@POLICIES.on(ActivityCreated)
def refuse(tx: Transaction, received: Received[ActivityCreated]) -> None:
    if received.event.title == "later" and not World.known:
        raise NotYet("the time has not come")


@LINES.on(ActivityCreated)
def line(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    table = p.table(lines)
    key = received.event.activity_id
    row = p.connection.execute(sa.select(table).where(table.c.activity_id == key)).first()
    p.upsert(
        table,
        {
            "activity_id": key,
            "titles": (row.titles if row else "") + received.event.title,
            "first": row.first if row else received.event.title,
            "number": (row.number if row else 0) + 1,
        },
        key=("activity_id",),
    )


@TALLY.on(ActivityCreated)
def counted(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    row = {"activity_id": received.event.activity_id, "events": 1}
    p.add(p.table(tally), row, key=("activity_id",))


SERVICE = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=METADATA,
    topics=("network.events",),
    policies=POLICIES,
    projections=(LINES, TALLY),
)


class BenchLog:
    """What the bench has appended, as a log."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        found: dict[tuple[str, int], int] = {}
        for record in self._bench.log:
            found[record.topic, record.partition] = record.offset + 1
        return found

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        for name, end in sorted(ends.items()):
            start = starts.get(name, 0)
            yield [
                r
                for r in self._bench.log
                if (r.topic, r.partition) == name and start <= r.offset < end
            ] or []


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    World.known = True
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made


def created(clock: FixedClock, title: str, activity: str = "a") -> ActivityCreated:
    return ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=clock.now())


def titles(bench: Bench) -> dict[str, str]:
    return dict(
        map(tuple, bench.read(lambda c: c.execute(sa.select(lines.c.activity_id, lines.c.titles))))
    )


def schema(bench: Bench) -> tuple[list[str], object]:
    """What Alembic would change, and every name that there is."""

    def look(connection: sa.Connection) -> tuple[list[str], object]:
        context = MigrationContext.configure(connection, opts=OPTIONS)
        inspector = sa.inspect(connection)
        names = {
            table: (
                sorted(
                    (
                        str(i["name"]),
                        str(i["column_names"]),
                        bool(i["unique"]),
                        sorted(map(str, i.get("dialect_options", {}).values())),
                    )
                    for i in inspector.get_indexes(table)
                ),
                sorted(str(u["name"]) for u in inspector.get_unique_constraints(table)),
                sorted(str(k["name"]) for k in inspector.get_check_constraints(table)),
                str(inspector.get_pk_constraint(table)["name"]),
            )
            for table in sorted(inspector.get_table_names())
        }
        return [str(d) for d in autogenerate.compare_metadata(context, METADATA)], names

    return bench.store.write_now(look)


async def rebuilt(bench: Bench, owner: str = "me") -> Rebuild:
    work = Rebuild(bench.store, LINES, BenchLog(bench), Progress(), owner)
    await bench.store.write(work.begin)
    return work


def read(bench: Bench, work: Rebuild, *records: Record) -> None:
    """The rebuild goes on by these, in one transaction."""
    items = [decode(record) for record in records]
    bench.store.write_now(lambda c: work._filler.fill(c, items))


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
        assert await (await rebuilt(bench)).round()
        assert titles(bench) == {"a": "12", "b": "3"}
        assert schema(bench) == before
    bench.deliver(created(clock, "4"))
    assert titles(bench) == {"a": "124", "b": "3"}
    bench.rebuild_equals()


class ReadOnce(BenchLog):
    """Notes from where it is read."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.asked: list[dict[tuple[str, int], int]] = []

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        self.asked.append(starts)
        async for batch in super().read(starts, ends):
            yield batch


def spoil(bench: Bench) -> None:
    bench.store.write_now(lambda c: c.execute(sa.update(lines).values(titles="spoilt")) and None)
    bench.store.write_now(lambda c: c.execute(sa.update(tally).values(events=-1)) and None)


async def test_several_read_the_log_once(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"), created(clock, "3", "b"))
    spoil(bench)
    log = ReadOnce(bench)
    wanted = {LINES: Progress(), TALLY: Progress()}
    await begin_together(bench.store, wanted, log, owner="me")
    assert log.asked == [{}]
    read = len(bench.log)
    assert {(p.records, p.total, p.done) for p in wanted.values()} == {(read, read, False)}
    bench.deliver(created(clock, "4"))
    for read_model, progress in wanted.items():
        await rebuild(bench.store, read_model, log, progress, owner="me")
    assert all(starts for starts in log.asked[1:]), "nothing is read again from the beginning"
    assert titles(bench) == {"a": "124", "b": "3"}
    bench.rebuild_equals()


async def test_nothing_is_fetched_any_more_when_a_rebuild_has_failed(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"))
    spoil(bench)

    class Endless(BenchLog):
        given_up = False

        async def read(
            self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
        ) -> AsyncIterator[Sequence[Record]]:
            async for batch in super().read(starts, ends):
                yield batch
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up = True

    def full(_filler: Filler, _connection: sa.Connection, _items: Sequence[Item]) -> None:
        raise OSError("no space left")

    log = Endless(bench)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Filler, "fill", full)
        with pytest.raises(OSError, match="no space"):
            await begin_together(
                bench.store, {LINES: Progress(), TALLY: Progress()}, log, owner="me"
            )
        assert log.given_up
        assert asyncio.all_tasks() == {asyncio.current_task()}
    await rebuild(bench.store, LINES, BenchLog(bench), Progress(), owner="me")
    await rebuild(bench.store, TALLY, BenchLog(bench), Progress(), owner="me")
    assert titles(bench) == {"a": "1"}
    bench.rebuild_equals()


async def test_one_that_is_taken_over_leaves_the_others(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "1"))
    spoil(bench)

    class Overtaking(BenchLog):
        async def read(
            self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
        ) -> AsyncIterator[Sequence[Record]]:
            other = Rebuild(bench.store, LINES, BenchLog(bench), Progress(), "another")
            await bench.store.write(other.begin)
            async for batch in super().read(starts, ends):
                yield batch

    wanted = {LINES: Progress(), TALLY: Progress()}
    await begin_together(bench.store, wanted, Overtaking(bench), owner="me")
    assert wanted[LINES].failed == "TakenOver"
    await rebuild(bench.store, TALLY, BenchLog(bench), wanted[TALLY], owner="me")
    found = bench.read(lambda c: c.execute(sa.select(tally)).all())
    assert [tuple(row) for row in found] == [("a", 1)]
    assert titles(bench) == {"a": "spoilt"}


async def test_one_that_was_begun_before_goes_on_from_there(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"))
    work = await rebuilt(bench)
    read(bench, work, bench.log[0])
    log = ReadOnce(bench)
    wanted = {LINES: Progress(), TALLY: Progress()}
    await begin_together(bench.store, wanted, log, owner="me")
    assert log.asked == [], "the one that is left has nobody to share a reading with"
    for read_model, progress in wanted.items():
        await rebuild(bench.store, read_model, log, progress, owner="me")
    bench.rebuild_equals()


async def test_it_reads_no_further_than_the_live_model(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "1"))
    late = bench.append(bench.record(created(clock, "2")))
    assert await (await rebuilt(bench)).round()
    assert titles(bench) == {"a": "1"}
    bench.settler.settle_all(bench._write, [decode(late)])
    assert titles(bench) == {"a": "12"}, "what the live side had still to come has its effect once"


async def test_it_ends_while_traffic_goes_on(bench: Bench, clock: FixedClock) -> None:
    """Whenever the rest of the log has been read, the live model is further."""

    class Busy(BenchLog):
        said = 0

        async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
            found = await super().ends(topics)
            if not swapping:
                Busy.said += 1
                bench.deliver(created(clock, str(Busy.said % 10)))
            return found

    swapping: list[bool] = []
    bench.deliver(created(clock, "0"))
    work = Rebuild(bench.store, LINES, Busy(bench), Progress(), "me")
    await bench.store.write(work.begin)
    finish = work._finish

    def in_the_transaction(connection: sa.Connection, **what: Any) -> bool:
        swapping.append(True)
        return finish(connection, **what)

    work._finish = in_the_transaction  # type: ignore[method-assign]
    assert await work.round()
    assert titles(bench) == {"a": "".join(str(n % 10) for n in range(Busy.said + 1))}
    assert Busy.said
    bench.rebuild_equals()


async def test_what_is_tried_again_meanwhile_has_its_effect(
    bench: Bench, clock: FixedClock
) -> None:
    World.known = False
    bench.deliver(created(clock, "1"), created(clock, "later"), created(clock, "3"))
    bench.deliver(*(created(clock, str(n), "b") for n in range(4)))
    work = await rebuilt(bench)
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
    work = await rebuilt(bench)
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
        bench.append(replace(bench.record(created(clock, title, activity)), partition=partition))
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
    work = await rebuilt(bench)
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
    work = await rebuilt(bench)
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
            work = await rebuilt(bench)
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
    assert not await (await rebuilt(bench)).round()


async def test_of_two_that_rebuild_the_later_goes_on_and_the_other_leaves(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"))
    first = await rebuilt(bench, "first")
    second = await rebuilt(bench, "second")
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
    assert await (await rebuilt(bench)).round()
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
        assert await (await rebuilt(bench)).round()
        assert titles(bench) == {"a": "234"}
    assert bench.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(inbox))) == 3


def test_a_read_model_refers_to_no_other_table() -> None:
    other = sa.MetaData()
    sa.Table("whole", other, sa.Column("id", sa.Integer, primary_key=True))
    part = sa.Table("part", other, sa.Column("id", sa.ForeignKey("whole.id"), primary_key=True))
    with pytest.raises(ValueError, match="no references"):
        Projection("parts", version=1, tables=(part,))
