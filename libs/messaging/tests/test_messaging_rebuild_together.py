"""Several read models built anew from one reading of the log, and who leaves what to whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

import messaging.rebuild
import messaging.rebuilds
from messaging import Projection, put_away
from messaging.engine import Engine
from messaging.envelope import Item, Record
from messaging.filling import Filler
from messaging.rebuild import Progress, rebuild
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.failures import is_transient
from runtime.ids import SequenceIds
from runtime.settings import Settings
from runtime.store import Store
from runtime.testing import eventually_async

from .rebuilding import (
    LINES,
    SERVICE,
    TALLY,
    BenchLog,
    ReadOnce,
    World,
    begun,
    created,
    lines,
    read,
    schema,
    spoil,
    tallied,
    tally,
    titles,
)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    World.known = World.able = True
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made


async def test_several_read_the_log_once(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"), created(clock, "3", "b"))
    spoil(bench)
    before = schema(bench)
    log = ReadOnce(bench)
    wanted = {LINES: Progress(), TALLY: Progress()}
    await rebuild(bench.store, wanted, log, owner="me")
    assert log.asked[0] == {}
    assert all(starts for starts in log.asked[1:]), "nothing is read again from the beginning"
    read = len(bench.log)
    assert {(p.records, p.total, p.done) for p in wanted.values()} == {(read, read, True)}
    assert titles(bench) == {"a": "12", "b": "3"}
    assert schema(bench) == before
    bench.deliver(created(clock, "4"))
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
            await rebuild(bench.store, {LINES: Progress(), TALLY: Progress()}, log, owner="me")
        assert log.given_up
        assert asyncio.all_tasks() == {asyncio.current_task()}
    for read_model in (LINES, TALLY):
        await rebuild(bench.store, {read_model: Progress()}, BenchLog(bench), owner="me")
    assert titles(bench) == {"a": "1"}
    bench.rebuild_equals()


async def test_one_that_is_taken_over_leaves_the_others(bench: Bench, clock: FixedClock) -> None:
    """Whoever rebuilds another set begins with tables of its own, and both end."""
    bench.deliver(created(clock, "1"), created(clock, "2"))
    spoil(bench)
    before = schema(bench)
    both = await begun(bench, "me", LINES, TALLY)
    read(bench, both, bench.log[0])
    wanted = dict(both._left)
    other = await begun(bench, "another", LINES)
    assert await both.round()
    assert (wanted[LINES].done, wanted[LINES].failed) == (True, "TakenOver")
    assert (wanted[TALLY].done, wanted[TALLY].failed) == (True, "")
    assert tallied(bench) == {"a": 2}
    assert titles(bench) == {"a": "spoilt"}
    assert await other.round()
    assert titles(bench) == {"a": "12"}
    assert schema(bench) == before
    bench.rebuild_equals()


async def test_another_set_throws_away_what_was_begun_and_leaves_nothing_behind(
    bench: Bench, clock: FixedClock
) -> None:
    """A process that was killed rebuilt one; the next one is to rebuild two. Ids that the first had
    seen are no reason to pass their events over."""
    bench.deliver(created(clock, "1"), created(clock, "2"))
    spoil(bench)
    before = schema(bench)
    read(bench, await begun(bench), bench.log[0])
    both = await begun(bench, "me", LINES, TALLY)
    assert await both.round()
    assert (titles(bench), tallied(bench)) == ({"a": "12"}, {"a": 2})
    assert schema(bench) == before


async def test_a_newer_version_begins_anew(bench: Bench, clock: FixedClock) -> None:
    """A process of an older build was killed at its rebuild; its tables are of another kind."""
    bench.deliver(created(clock, "1"), created(clock, "2"))
    spoil(bench)
    before = schema(bench)
    older = Projection("lines", version=1, tables=(lines,))
    read(bench, await begun(bench, "me", older), *bench.log)
    assert await (await begun(bench)).round()
    assert titles(bench) == {"a": "12"}
    assert schema(bench) == before


async def test_several_that_were_killed_go_on_from_there(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "1"), created(clock, "2"))
    spoil(bench)
    read(bench, await begun(bench, "me", LINES, TALLY), bench.log[0])
    log = ReadOnce(bench)
    await rebuild(bench.store, {LINES: Progress(), TALLY: Progress()}, log, owner="me again")
    assert log.asked
    assert all(starts for starts in log.asked)
    assert (titles(bench), tallied(bench)) == ({"a": "12"}, {"a": 2})
    bench.rebuild_equals()


class BenchBus:
    """As much of a bus as an engine needs for a rebuild."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[BenchLog]:
        yield BenchLog(self._bench)


def engine_of(bench: Bench, store_url: str, clock: FixedClock, ids: SequenceIds) -> Engine:
    settings = Settings(service="network", database_url=store_url)
    return Engine(SERVICE, bench.store, settings, clock, ids)


async def test_where_one_is_at_fault_the_others_are_rebuilt(
    bench: Bench,
    store_url: str,
    clock: FixedClock,
    ids: SequenceIds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messaging.rebuild, "GIVE_UP", 1)
    bench.deliver(created(clock, "1"), created(clock, "2"))
    spoil(bench)
    before = schema(bench)
    engine = engine_of(bench, store_url, clock, ids)
    engine.bus = BenchBus(bench)  # type: ignore[assignment]
    World.able = False
    engine.rebuilds.begin_all(engine.bus)
    progress = dict(engine.rebuilds.progress)
    await eventually_async(
        lambda: all(one.done for one in progress.values()), within=20, why="all have ended"
    )
    assert {name: one.failed for name, one in progress.items() if one.failed} == {
        "lines": "ZeroDivisionError"
    }
    assert tallied(bench) == {"a": 2}
    assert titles(bench) == {"a": "spoilt"}, "the old one goes on answering"
    World.able = True
    again = engine.rebuilds.begin("lines", engine.bus)
    await eventually_async(lambda: again.done, within=20, why="it was mended")
    assert titles(bench) == {"a": "12"}
    assert schema(bench) == before
    await engine.stop()


async def test_what_a_killed_process_had_put_away_goes_at_the_next_start(
    bench: Bench, store_url: str, clock: FixedClock, ids: SequenceIds
) -> None:
    def tables(connection: sa.Connection) -> list[str]:
        return sorted(sa.inspect(connection).get_table_names())

    def leave(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE left_over (id INT PRIMARY KEY)"))
        put_away.put_away(connection, "left_over")

    before = await bench.store.read(tables)
    await bench.store.write(leave)
    engine = engine_of(bench, store_url, clock, ids)
    await engine.rebuilds.what_must(BenchBus(bench))  # type: ignore[arg-type]
    assert await bench.store.read(tables) == before
    await engine.stop()


async def test_what_could_not_be_emptied_is_emptied_later(
    bench: Bench,
    store_url: str,
    clock: FixedClock,
    ids: SequenceIds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rebuild doubles its tables, so the disk may be full in that moment."""
    bench.deliver(created(clock, "1"))
    before = await bench.store.read(lambda c: sorted(sa.inspect(c).get_table_names()))
    tried: list[bool] = []

    async def empty(store: Store) -> None:
        tried.append(True)
        if len(tried) == 1:
            raise sa.exc.OperationalError("DELETE", {}, Exception("database or disk is full"))
        await put_away.empty(store)

    monkeypatch.setattr(messaging.rebuilds, "put_away", SimpleNamespace(empty=empty))
    engine = engine_of(bench, store_url, clock, ids)
    engine.bus = BenchBus(bench)  # type: ignore[assignment]
    engine.rebuilds.begin("lines", engine.bus)
    await eventually_async(lambda: len(tried) == 2, within=20, why="it is tried again")
    await engine.stop()
    assert titles(bench) == {"a": "1"}
    assert await bench.store.read(lambda c: sorted(sa.inspect(c).get_table_names())) == before


async def test_a_swap_gives_way_to_a_reader_and_keeps_nobody_waiting(
    bench: Bench, clock: FixedClock
) -> None:
    """Somebody reads one table for long and asks for the other then: on PostgreSQL the two would
    wait for each other. On SQLite a reader has his own view, and nobody waits."""
    bench.deliver(created(clock, "1"))
    spoil(bench)
    both = await begun(bench, "me", LINES, TALLY)
    reading, tried = threading.Event(), threading.Event()

    def read_both(connection: sa.Connection) -> list[Any]:
        first = connection.execute(sa.select(tally.c.events)).all()
        reading.set()
        assert tried.wait(20)
        return [*first, *connection.execute(sa.select(lines.c.titles)).all()]

    looking = asyncio.create_task(bench.store.read(read_both))
    await asyncio.to_thread(reading.wait, 20)
    if bench.store.dialect == "postgresql":
        with pytest.raises(sa.exc.OperationalError) as raised:
            await both.round()
        assert is_transient(raised.value)
        tried.set()
        assert await looking == [(-1,), ("spoilt",)]
        assert await both.round()
    else:
        assert await both.round()
        tried.set()
        assert await looking == [(-1,), ("spoilt",)]
    assert (titles(bench), tallied(bench)) == ({"a": "1"}, {"a": 1})


@pytest.mark.parametrize("table", ["tally", "lines_rebuild", "seen"])
@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)  # nobody vacuums SQLite beside
async def test_nobody_waits_while_a_swap_waits_for_a_vacuum(
    bench: Bench, clock: FixedClock, table: str
) -> None:
    """Autovacuum goes when somebody has waited for a second. That it holds a table here is done by
    the lock that it takes."""
    bench.deliver(created(clock, "1"))
    spoil(bench)
    both = await begun(bench, "me", LINES, TALLY)
    name = both._shadow.seen.name if table == "seen" else table
    vacuum = sa.create_engine(bench.store.url)
    with vacuum.begin() as holding:
        holding.execute(sa.text(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE"))
        swapping = asyncio.create_task(both.round())
        await eventually_async(
            partial(waits_for, holding, name), within=20, why="the swap waits for the vacuum"
        )
        async with asyncio.timeout(5):
            assert await bench.store.read(lambda c: c.scalar(sa.select(tally.c.events))) == -1
            bench.deliver(created(clock, "2"))
    assert await swapping or await both.round()
    assert (titles(bench), tallied(bench)) == ({"a": "12"}, {"a": 2})
    vacuum.dispose()


def waits_for(connection: sa.Connection, table: str) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = CAST(:t AS regclass))"
    )
    return bool(connection.scalar(sa.text(query), {"t": table}))
