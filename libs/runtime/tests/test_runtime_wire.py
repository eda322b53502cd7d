"""What waits to go to PostgreSQL with something else is kept with its transaction, or not."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from runtime.failures import is_transient
from runtime.prepared import Prepared, together
from runtime.rows import insert, insert_once
from runtime.store import Store
from runtime.wire import KEPT, SEEN

pytestmark = pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)

metadata = sa.MetaData()
thing = sa.Table("thing", metadata, sa.Column("id", sa.Text, primary_key=True))
NAMES = Prepared(sa.select(thing.c.id).order_by(thing.c.id))
ADD = Prepared(sa.text("INSERT INTO thing (id) VALUES (:id)"))
END_ALL = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def things(store: Store) -> Store:
    store.write_now(metadata.create_all)
    store.write_now(lambda c: insert(c, thing, [{"id": "a"}]))
    return store


def later(connection: sa.Connection, name: str) -> bool:
    with together(connection, later=True):
        return insert_once(connection, thing, [{"id": name}])


def sql(connection: sa.Connection) -> list[Any]:
    return list(connection.scalars(sa.select(thing.c.id).order_by(thing.c.id)))


def test_what_waits_is_kept_by_the_commit(things: Store) -> None:
    things.write_now(lambda c: later(c, "b"))
    assert things.read_now(NAMES.scalars) == ["a", "b"]


@pytest.mark.parametrize("ask", [NAMES.scalars, sql])
def test_whoever_asks_finds_what_waits(things: Store, ask: Any) -> None:
    def write(connection: sa.Connection) -> Any:
        later(connection, "b")
        ADD.later(connection, id="c")
        return ask(connection)

    assert things.write_now(write) == ["a", "b", "c"]


def test_what_waits_is_written_before_a_savepoint(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        later(connection, "b")
        with connection.begin_nested() as inner:
            later(connection, "c")
            inner.rollback()

    things.write_now(write)
    assert things.read_now(NAMES.scalars) == ["a", "b"]


@pytest.mark.parametrize("asks", [True, False])
def test_who_takes_rows_for_new_is_told_on_the_way_where_they_are_refused(
    things: Store, asks: bool
) -> None:
    turns: list[bool] = []

    def write(connection: sa.Connection) -> bool:
        ADD.run(connection, id=f"of turn {len(turns)}")
        turns.append(later(connection, "a"))
        if asks:
            NAMES.scalars(connection)
        return turns[-1]

    assert not things.write_now(write)
    assert turns == [True, False]
    assert things.read_now(NAMES.scalars) == ["a", "of turn 1"]


def test_an_error_of_a_single_one_is_its_own_and_nothing_is_kept(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        later(connection, "b")
        ADD.run(connection, id="a")

    with pytest.raises(sa.exc.IntegrityError):
        things.write_now(write)
    assert things.read_now(NAMES.scalars) == ["a"]


def test_what_waits_is_forgotten_with_its_transaction(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        NAMES.scalars(connection)
        later(connection, "b")
        raise LookupError

    for _ in range(2):  # each of the writers
        with pytest.raises(LookupError):
            things.write_now(write)
        things.write_now(NAMES.scalars)
    assert things.read_now(NAMES.scalars) == ["a"]


def test_a_server_that_goes_before_the_commit_has_kept_nothing(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        NAMES.scalars(connection)
        later(connection, "b")
        things.read_now(lambda reading: reading.execute(END_ALL).all())

    with pytest.raises(sa.exc.OperationalError) as caught:
        things.write_now(write)
    assert is_transient(caught.value)
    things.write_now(lambda c: later(c, "c"))
    assert things.read_now(NAMES.scalars) == ["a", "c"]


def test_a_failed_transaction_is_not_taken_for_kept(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        with pytest.raises(sa.exc.IntegrityError):
            ADD.run(connection, id="a")

    with pytest.raises(sa.exc.DBAPIError, match="undone"):
        things.write_now(write)


def test_statements_stay_prepared_when_a_transaction_is_undone(things: Store) -> None:
    def prepared(connection: sa.Connection) -> Any:
        for _ in range(SEEN + 1):
            NAMES.scalars(connection)
        with pytest.raises(LookupError), connection.begin_nested():
            raise LookupError
        NAMES.scalars(connection)
        asked = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%thing%'"
        return connection.scalar(sa.text(asked))

    assert things.write_now(prepared) == 1


def test_no_more_are_prepared_than_there_may_be(things: Store) -> None:
    def many(connection: sa.Connection) -> Any:
        for number in range(KEPT + 5):
            one = Prepared(sa.text(f"SELECT {number} FROM thing"))
            assert [one.scalar(connection) for _ in range(SEEN + 2)] == [number] * (SEEN + 2)
        return connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements"))

    assert KEPT <= things.write_now(many) <= KEPT + 2  # begin and commit


def test_a_plan_that_is_outdated_is_made_anew(empty_url: str) -> None:
    store = Store(empty_url, writers=1)
    try:
        store.write_now(lambda c: c.execute(sa.text("CREATE TABLE thing (id TEXT, more INT)")))
        every = Prepared(sa.text("SELECT * FROM thing"))
        for _ in range(SEEN + 2):
            store.write_now(every.run)
        store.write_now(lambda c: c.execute(sa.text("ALTER TABLE thing DROP COLUMN more")))
        with pytest.raises(sa.exc.DBAPIError):
            store.write_now(every.run)
        assert store.write_now(every.run) == 0
    finally:
        store.close_now()
