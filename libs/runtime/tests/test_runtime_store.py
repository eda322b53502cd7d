"""The store: one transaction per write, first come first served, recovery by itself."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import runtime.store
from runtime.failures import StoreClosed, StoreGone, is_transient
from runtime.store import Store, WriteTimes, alone, insert_ignore
from runtime.testing import eventually, eventually_async
from runtime.types import Id

metadata = sa.MetaData()
person = sa.Table(
    "person",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text),
)


@pytest.fixture
def people(store: Store) -> Store:
    store.write_now(metadata.create_all)
    return store


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'people.db'}", busy_timeout_ms=50)
    made.write_now(metadata.create_all)
    yield made
    made.close_now()


def add(connection: sa.Connection, id: str) -> None:
    connection.execute(sa.insert(person), {"id": id, "name": id})


def names(store: Store) -> list[str]:
    return list(store.read_now(lambda c: c.scalars(sa.select(person.c.id).order_by("id")).all()))


def test_what_a_transaction_changes_is_written_once(file_store: Store, tmp_path: Path) -> None:
    log = tmp_path / "people.db-wal"

    def many(connection: sa.Connection) -> tuple[int, int]:
        before = log.stat().st_size
        rows = [{"id": f"{number:04}", "name": "n" * 2_000} for number in range(2_000)]
        assert insert_ignore(connection, person, rows) == len(rows)
        return before, log.stat().st_size

    before, then = file_store.write_now(many)
    assert then == before, "nothing is written into the log before the end"
    assert log.stat().st_size > before + 2_000 * 2_000


async def test_a_write_is_kept_when_its_work_returns(people: Store) -> None:
    await people.write(lambda c: add(c, "a"))
    assert await people.read(lambda c: c.scalar(sa.select(person.c.id))) == "a"


async def test_a_statement_alone_is_kept_and_the_next_transaction_is_one_again(
    people: Store,
) -> None:
    def by_itself(connection: sa.Connection) -> None:
        with alone(connection):
            insert_ignore(connection, person, [{"id": "a", "name": "a"}])

    def refused(connection: sa.Connection) -> None:
        with alone(connection):
            connection.execute(sa.insert(person), {"id": "a"})

    def half(connection: sa.Connection) -> None:
        add(connection, "b")
        raise LookupError

    for _ in range(3):  # whichever connection it is
        await people.write(by_itself)
        with pytest.raises(sa.exc.IntegrityError):
            await people.write(refused)
        with pytest.raises(LookupError):
            await people.write(half)
    assert names(people) == ["a"]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)  # on SQLite it is a part
def test_a_statement_alone_is_no_part_of_a_transaction(people: Store) -> None:
    def later(connection: sa.Connection) -> None:
        add(connection, "a")
        with alone(connection):
            add(connection, "b")

    with pytest.raises(Exception, match="autocommit"):
        people.write_now(later)
    assert names(people) == []


def test_a_read_alone_cannot_write_either(people: Store) -> None:
    def write(connection: sa.Connection) -> None:
        with alone(connection):
            add(connection, "a")

    with pytest.raises(sa.exc.DBAPIError):
        people.read_now(write)
    assert names(people) == []


async def test_a_write_that_raises_keeps_nothing(people: Store) -> None:
    def half(connection: sa.Connection) -> None:
        add(connection, "a")
        raise LookupError("no")

    with pytest.raises(LookupError):
        await people.write(half)
    assert names(people) == []
    await people.write(lambda c: add(c, "b"))
    assert names(people) == ["b"]


def test_a_read_cannot_write(people: Store) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        people.read_now(lambda c: add(c, "a"))
    people.write_now(lambda c: add(c, "a"))
    assert names(people) == ["a"]


def test_a_read_sees_one_snapshot(people: Store) -> None:
    people.write_now(lambda c: add(c, "a"))

    def twice(connection: sa.Connection) -> tuple[int, int]:
        count = sa.select(sa.func.count()).select_from(person)
        before = connection.scalar(count)
        people.write_now(lambda c: add(c, "b"))
        return before or 0, connection.scalar(count) or 0

    assert people.read_now(twice) == (1, 1)
    assert names(people) == ["a", "b"]


async def test_a_cancelled_caller_leaves_no_half_transaction(people: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        add(connection, "a")
        begun.set()
        assert go_on.wait(10)
        add(connection, "b")

    caller = asyncio.create_task(people.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    eventually(lambda: names(people) == ["a", "b"], why="the work that had begun was ended")


async def test_a_caller_who_leaves_the_queue_is_forgotten(file_store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        begun.set()
        assert go_on.wait(10)

    busy = asyncio.create_task(file_store.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    queued = asyncio.create_task(file_store.write(lambda c: add(c, "never")))
    await eventually_async(lambda: file_store.waiting == 1, why="one waits behind the first")
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert file_store.waiting == 0
    go_on.set()
    await busy
    assert names(file_store) == []


class Batch:
    """A thousand events, say."""


async def test_what_was_worked_on_is_let_go_without_the_collector(people: Store) -> None:
    """A collector that finds the batches of a long log takes a fifth of a second, in which nobody
    is answered."""

    async def used_by(use: Callable[[Callable[[sa.Connection], int]], Awaitable[int]]) -> None:
        batch = Batch()
        held = weakref.ref(batch)
        await use(lambda _connection, batch=batch: id(batch))
        del batch
        await eventually_async(lambda: held() is None, within=3)

    gc.disable()
    try:
        await used_by(people.write)
        await used_by(people.read)
    finally:
        gc.enable()


async def test_a_till_is_served_in_turn_beside_a_busy_consumer(file_store: Store) -> None:
    """A write that comes between batches waits for one of them, not for all."""
    turns: list[str] = []
    stop = asyncio.Event()

    async def consumer(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            await file_store.write(lambda c: turns.append(name))

    consumers = [asyncio.create_task(consumer("batch")) for _ in range(2)]
    for number in range(20):
        before = len(turns)
        await file_store.write(lambda c: turns.append(f"till {number}"))  # noqa: B023
        between = turns[before:].index(f"till {number}")
        assert between <= 3, f"the till waited for {between} batches"
    stop.set()
    await asyncio.gather(*consumers)


async def test_a_batch_sees_that_somebody_waits(file_store: Store) -> None:
    def batch(connection: sa.Connection) -> int:
        done = 0
        while file_store.waiting == 0:
            begun.set()
            done += 1
        return done

    begun = threading.Event()
    consumer = asyncio.create_task(file_store.write(batch))
    await asyncio.to_thread(begun.wait, 10)
    await file_store.write(lambda c: add(c, "till"))
    assert await consumer > 0
    assert file_store.waiting == 0


def test_a_write_inside_a_write_is_refused_instead_of_waiting_for_ever(people: Store) -> None:
    with pytest.raises(RuntimeError, match="inside a write"):
        people.write_now(lambda c: people.write_now(lambda d: None))


def test_a_locked_file_raises_a_transient_error_and_is_used_again(
    file_store: Store, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "people.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sa.exc.OperationalError) as caught:
        file_store.write_now(lambda c: add(c, "a"))
    assert is_transient(caught.value)
    assert names(file_store) == []
    other.execute("ROLLBACK")
    other.close()
    file_store.write_now(lambda c: add(c, "a"))
    assert names(file_store) == ["a"]


def test_a_full_disk_raises_a_transient_error_and_nothing_is_half_written(
    file_store: Store,
) -> None:
    def limit(connection: sa.Connection, pages: int) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    pages = file_store.read_now(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    file_store.write_now(lambda c: limit(c, pages or 0))

    def much(connection: sa.Connection) -> None:
        add(connection, "small")
        connection.execute(sa.insert(person), {"id": "big", "name": "x" * 100_000})

    with pytest.raises(sa.exc.OperationalError) as caught:
        file_store.write_now(much)
    assert is_transient(caught.value)
    assert names(file_store) == []
    file_store.write_now(lambda c: limit(c, 1_000_000))
    file_store.write_now(much)
    assert names(file_store) == ["big", "small"]


def test_a_file_that_is_gone_is_noticed_and_never_made_anew(
    file_store: Store, tmp_path: Path
) -> None:
    file_store.write_now(lambda c: add(c, "a"))
    path = tmp_path / "people.db"
    aside = [path, path.with_name("people.db-wal"), path.with_name("people.db-shm")]
    for file in aside:
        file.rename(file.with_name(file.name + ".away"))
    with pytest.raises(StoreGone):
        file_store.write_now(lambda c: add(c, "b"))
    with pytest.raises(sa.exc.OperationalError) as caught:
        file_store.write_now(lambda c: add(c, "b"))
    assert is_transient(caught.value)
    assert not path.exists()
    for file in aside:
        away = file.with_name(file.name + ".away")
        if away.exists():
            away.rename(file)
    file_store.write_now(lambda c: add(c, "c"))
    assert names(file_store) == ["a", "c"]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_lost_connection_is_replaced(people: Store) -> None:
    def lose(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(sa.exc.OperationalError) as caught:
        people.write_now(lose)
    assert is_transient(caught.value)
    people.write_now(lambda c: add(c, "a"))
    assert names(people) == ["a"]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("rested", [True, False])
def test_a_connection_that_rested_is_asked_before_it_is_used(
    people: Store, monkeypatch: pytest.MonkeyPatch, rested: bool
) -> None:
    """A server that was started again costs nobody a request after a quiet second; and one
    request at most without."""
    monkeypatch.setattr(runtime.store, "RESTED", 0.0 if rested else 3600.0)
    people.write_now(lambda c: add(c, "a"))
    assert names(people) == ["a"]
    ended = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with sa.create_engine(people.url, poolclass=sa.NullPool).connect() as other:
        assert other.scalar(ended) == 2
    if not rested:
        for ask in (names, lambda store: store.write_now(lambda c: add(c, "b"))):
            with pytest.raises(sa.exc.OperationalError) as caught:
                ask(people)
            assert is_transient(caught.value)
    people.write_now(lambda c: add(c, "c"))
    assert names(people) == ["a", "c"]


async def test_a_closed_store_ends_its_queue_and_takes_no_more(store_url: str) -> None:
    store = Store(store_url)
    await store.write(metadata.create_all)
    begun = threading.Event()

    def slow(connection: sa.Connection) -> None:
        begun.set()
        add(connection, "a")

    last = asyncio.create_task(store.write(slow))
    await asyncio.to_thread(begun.wait, 10)
    await store.close()
    await last
    with pytest.raises(StoreClosed):
        await store.write(lambda c: None)
    again = Store(store_url)
    assert names(again) == ["a"]
    again.close_now()


def test_every_write_tells_its_times(store_url: str) -> None:
    seen: list[WriteTimes] = []
    store = Store(store_url, observe=seen.append)
    store.write_now(metadata.create_all)
    store.close_now()
    assert len(seen) == 1
    assert seen[0].worked > 0


@pytest.mark.parametrize(
    ("url", "sentence"),
    [("mysql://x/y", "must begin"), ("nonsense", "no database"), ("sqlite://", "needs a file")],
)
def test_an_address_that_is_no_store_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Store(url)


async def test_what_was_deleted_lies_in_no_file_once_it_is_tidy(
    file_store: Store, tmp_path: Path
) -> None:
    def on_disk() -> set[str]:
        return {f.name for f in tmp_path.iterdir() if b"Zebedea" in f.read_bytes()}

    await file_store.write(lambda c: add(c, "Zebedea"))
    assert on_disk() == {"people.db-wal"}
    await file_store.write(lambda c: c.execute(sa.delete(person)))
    assert on_disk() == {"people.db-wal"}, "the log keeps what was written before"
    assert await file_store.tidy()
    assert on_disk() == set()
    await file_store.write(lambda c: add(c, "Zebedea"))
    with file_store._read_engine.connect() as reader:
        reader.execute(sa.select(person.c.id)).all()
        await file_store.write(lambda c: c.execute(sa.delete(person)))
        assert not await file_store.tidy()
        assert on_disk()
    assert await file_store.tidy()
    assert on_disk() == set()


async def test_whoever_writes_does_not_wait_until_a_reader_of_something_old_has_ended(
    tmp_path: Path,
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'people.db'}", busy_timeout_ms=60_000)
    try:
        await store.write(metadata.create_all)
        with store._read_engine.connect() as reader:
            reader.execute(sa.select(person.c.id)).all()
            await store.write(lambda c: add(c, "a"))
            async with asyncio.timeout(20):
                assert not await store.tidy()
        patience = await store.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout").scalar())
        assert patience == 60_000
    finally:
        store.close_now()


async def test_where_another_server_keeps_the_store_there_is_nothing_to_tidy(store: Store) -> None:
    assert await store.tidy()


def test_an_error_does_not_tell_the_values(people: Store) -> None:
    people.write_now(lambda c: add(c, "a"))
    with pytest.raises(sa.exc.IntegrityError) as caught:
        people.write_now(lambda c: c.execute(sa.insert(person), {"id": "a", "name": "Amina Rossi"}))
    assert "Amina" not in str(caught.value)


def test_writes_are_durable(people: Store) -> None:
    if people.dialect == "postgresql":
        asked = people.write_now(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar())
        assert asked == "on"
        return
    settings = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}
    for name, value in settings.items():
        found = people.write_now(
            lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar()  # noqa: B023
        )
        assert found == value, name
