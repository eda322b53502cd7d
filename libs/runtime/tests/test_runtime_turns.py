"""Those who wait at the same moment share a transaction, and each stands for itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from runtime.store import Store
from runtime.testing import eventually, eventually_async
from runtime.turns import SHARED_BY
from runtime.types import Id

METADATA = sa.MetaData()
person = sa.Table("person", METADATA, sa.Column("id", Id, primary_key=True))

Work = Callable[[sa.Connection], str]


@pytest.fixture(autouse=True)
def _in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nobody is too late to join."""
    monkeypatch.setattr("runtime.store.SHARED_FOR", 60.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'people.db'}")
    made.write_now(METADATA.create_all)
    yield made
    made.close_now()


def add(name: str, after: Callable[[sa.Connection], None] = lambda _c: None) -> Work:
    def work(connection: sa.Connection) -> str:
        connection.execute(sa.insert(person), {"id": name})
        after(connection)
        return name

    return work


def refuse(_connection: sa.Connection) -> Any:
    raise LookupError


def names(store: Store) -> list[str]:
    return list(store.read_now(lambda c: c.scalars(sa.select(person.c.id).order_by("id")).all()))


@contextlib.asynccontextmanager
async def busy(store: Store) -> AsyncIterator[Callable[..., asyncio.Task[str]]]:
    """Whoever asks within waits; what they share begins when it is left."""
    begun, go_on = threading.Event(), threading.Event()
    tasks: list[asyncio.Task[str]] = []

    def hold(_connection: sa.Connection) -> None:
        begun.set()
        assert go_on.wait(10)

    def ask(work: Work, *, shares: bool = True) -> asyncio.Task[str]:
        task = asyncio.create_task(store.write(work, shares=shares))
        tasks.append(task)
        return task

    holding = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    yield ask
    still = [task for task in tasks if not task.done()]
    await eventually_async(lambda: store.waiting == len(still), why="all of them wait")
    go_on.set()
    await asyncio.gather(holding, *tasks, return_exceptions=True)


@contextlib.contextmanager
def commits(store: Store) -> Iterator[list[None]]:
    """Each commit of the writer."""
    seen: list[None] = []

    def committed(_connection: sa.Connection) -> None:
        seen.append(None)

    event.listen(store._write_engine, "commit", committed)
    yield seen
    event.remove(store._write_engine, "commit", committed)


async def test_those_who_wait_are_kept_by_one_commit(store: Store) -> None:
    with commits(store) as seen:
        async with busy(store) as ask:
            tasks = [ask(add(name)) for name in "abc"]
    assert [task.result() for task in tasks] == ["a", "b", "c"]
    assert names(store) == ["a", "b", "c"]
    assert len(seen) == 2, "of the one before them, and theirs"


async def test_not_all_the_world_shares_one(store: Store) -> None:
    with commits(store) as seen:
        async with busy(store) as ask:
            for number in range(2 * SHARED_BY):
                ask(add(f"{number:02}"))
    assert len(names(store)) == 2 * SHARED_BY
    assert len(seen) >= 3


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_what_one_raises_undoes_its_own_work_alone(store: Store, place: int) -> None:
    works = [add(name, refuse if n == place else lambda _c: None) for n, name in enumerate("abc")]
    async with busy(store) as ask:
        tasks = [ask(work) for work in works]
    assert [isinstance(task.exception(), LookupError) for task in tasks] == [
        n == place for n in range(3)
    ]
    assert names(store) == [name for n, name in enumerate("abc") if n != place]


async def test_who_raises_before_he_wrote_holds_nobody_up(store: Store) -> None:
    with commits(store) as seen:
        async with busy(store) as ask:
            tasks = [ask(work) for work in (add("a"), refuse, add("c"))]
    assert [type(task.exception()) for task in tasks] == [type(None), LookupError, type(None)]
    assert names(store) == ["a", "c"]
    assert len(seen) == 2, "of the one before them, and theirs"


async def test_who_raises_after_he_wrote_has_all_served_again_each_by_himself(
    store: Store,
) -> None:
    order: list[str] = []

    def note(name: str, after: Callable[[sa.Connection], None] = lambda _c: None) -> Work:
        def noted(connection: sa.Connection) -> None:
            order.append(name)
            after(connection)

        return add(name, noted)

    with commits(store) as seen:
        async with busy(store) as ask:
            tasks = [ask(note(name, refuse if name == "b" else lambda _c: None)) for name in "abcd"]
    assert order == ["a", "b", "a", "b", "c", "d"]
    assert [task.exception() is None for task in tasks] == [True, False, True, True]
    assert names(store) == ["a", "c", "d"]
    assert len(seen) == 3, "of the one before them, of a, and of c with d"


async def test_a_transaction_that_is_lost_keeps_nothing_and_all_hear_it(store: Store) -> None:
    """SQLite gives one up by itself on a disk that fails."""

    def lost(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise OSError("the disk is gone")

    async with busy(store) as ask:
        tasks = [ask(work) for work in (add("a"), add("b", lost), add("c"))]
    assert [type(task.exception()) for task in tasks[:2]] == [OSError, OSError]
    assert tasks[2].result() == "c", "it came to the next one"
    assert names(store) == ["c"]


async def test_a_commit_that_fails_keeps_nothing_and_all_hear_it(store: Store) -> None:
    def fail(_connection: sa.Connection) -> None:
        raise OSError("no more room")

    async with busy(store) as ask:
        first = ask(add("a", lambda _c: event.listen(store._write_engine, "commit", fail)))
        second, third = ask(add("b")), ask(refuse)
    event.remove(store._write_engine, "commit", fail)
    assert {type(task.exception()) for task in (first, second, third)} == {OSError}
    assert names(store) == []
    await store.write(add("d"))
    assert names(store) == ["d"]


async def test_who_comes_late_begins_the_next_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.store.SHARED_FOR", 0.0)
    with commits(store) as seen:
        async with busy(store) as ask:
            for name in "abc":
                ask(add(name))
    assert len(seen) == 4


async def test_nobody_is_passed_by(store: Store) -> None:
    order: list[str] = []

    def note(name: str) -> Work:
        return add(name, lambda _c: order.append(name))

    with commits(store) as seen:
        async with busy(store) as ask:
            for name in "abxcd":
                ask(note(name), shares=name != "x")
    assert order == list("abxcd")
    assert len(seen) == 4, "x stands alone between those who share"


async def test_who_goes_away_before_his_turn_leaves_the_others_theirs(store: Store) -> None:
    async with busy(store) as ask:
        tasks = [ask(add(name)) for name in "abc"]
        await eventually_async(lambda: store.waiting == 3, why="all of them wait")
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
    assert names(store) == ["a", "c"]
    assert store.waiting == 0


async def test_an_error_that_no_future_takes_is_heard_all_the_same(store: Store) -> None:
    async with busy(store) as ask:
        tasks = [ask(lambda _c: next(iter(""))), ask(add("b"))]
    assert isinstance(tasks[0].exception(), RuntimeError)
    assert tasks[1].result() == "b"


def test_a_loop_that_has_ended_holds_nobody_up(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_connection: sa.Connection) -> str:
        begun.set()
        assert go_on.wait(10)
        return ""

    async def ask_and_go() -> None:
        asking = asyncio.create_task(store.write(hold))
        await asyncio.to_thread(begun.wait, 10)
        asking.cancel()

    asyncio.run(ask_and_go())
    go_on.set()
    assert asyncio.run(asyncio.wait_for(store.write(add("a")), 10)) == "a"


def test_a_store_that_is_forgotten_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    def use_and_forget() -> None:
        forgotten = Store(f"sqlite:///{tmp_path / 'forgotten.db'}")
        forgotten.write_now(lambda _c: None)
        forgotten.read_now(lambda _c: None)

    use_and_forget()

    def none_is_left() -> bool:
        gc.collect()
        return set(threading.enumerate()) <= before

    eventually(none_is_left)


@settings(max_examples=30, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.booleans(), st.sampled_from(["kept", "refused", "twice"])), max_size=12
    )
)
def test_whatever_comes_together_is_as_if_one_after_the_other(
    asked: list[tuple[bool, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('turns') / 'people.db'}")
    made.write_now(METADATA.create_all)
    wanted: list[str] = []

    async def ask_all() -> None:
        async with busy(made) as ask:
            for number, (shares, what) in enumerate(asked):
                name = f"{number:02}" if what != "twice" or not wanted else wanted[-1]
                ask(add(name, refuse if what == "refused" else lambda _c: None), shares=shares)
                if what == "kept" or (what == "twice" and name not in wanted):
                    wanted.append(name)

    try:
        asyncio.run(ask_all())
        assert names(made) == sorted(wanted)
    finally:
        made.close_now()
