"""Statements that the driver runs itself give what SQLAlchemy gives, and fail as it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.failures import is_transient
from runtime.prepared import Prepared, run
from runtime.rows import among, insert, insert_ignore
from runtime.store import Store
from runtime.types import Id, Json, UtcDateTime

metadata = sa.MetaData()
thing = sa.Table(
    "thing",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, default=""),
    sa.Column("count", sa.BigInteger),
    sa.Column("usable", sa.Boolean),
    sa.Column("at", UtcDateTime),
    sa.Column("traits", Json),
    sa.Column("bytes", sa.LargeBinary),
)
NOON = datetime(2026, 11, 16, 12, 0, 0, 5, tzinfo=UTC)
FULL: dict[str, Any] = {
    "id": "a",
    "name": "tè, %s :x $1 ?",
    "count": 2**40,
    "usable": True,
    "at": NOON,
    "traits": {"deep": [1, None, {"é": False}]},
    "bytes": b"\x00\xff",
}
EMPTY: dict[str, Any] = {**dict.fromkeys(FULL), "id": "b", "name": ""}

ALL = Prepared(sa.select(thing).order_by(thing.c.id))
ONE = Prepared(sa.select(thing).where(thing.c.id == sa.bindparam("wanted")))
SOME = Prepared(
    lambda dialect: (
        sa.select(thing.c.id, thing.c.usable)
        .where(among(dialect, thing.c.id), thing.c.name != "nobody")
        .order_by(thing.c.id)
    )
)
SINCE = Prepared(sa.select(thing.c.id).where(thing.c.at >= sa.bindparam("from")).limit(1))
RENAME = Prepared(
    sa.update(thing).where(thing.c.id == sa.bindparam("of")).values(name=sa.bindparam("to"))
)
COPY = Prepared(sa.text("INSERT INTO thing (id, name) VALUES (:id, :name)"))


@pytest.fixture
def things(store: Store) -> Store:
    store.write_now(metadata.create_all)
    store.write_now(lambda c: insert(c, thing, [FULL, EMPTY]))
    return store


def test_rows_are_those_of_sqlalchemy(things: Store) -> None:
    by_sqlalchemy = things.read_now(
        lambda c: [dict(row) for row in c.execute(sa.select(thing).order_by("id")).mappings()]
    )
    assert things.read_now(ALL.all) == by_sqlalchemy == [FULL, EMPTY]
    assert things.read_now(ALL.tuples) == [tuple(FULL.values()), tuple(EMPTY.values())]


def test_first_and_scalar_give_none_where_there_is_nothing(things: Store) -> None:
    assert things.read_now(lambda c: ONE.first(c, wanted="a")) == FULL
    assert things.read_now(lambda c: ONE.scalar(c, wanted="a")) == "a"
    assert things.read_now(lambda c: ONE.first(c, wanted="z")) is None
    assert things.read_now(lambda c: ONE.scalar(c, wanted="z")) is None
    assert things.read_now(lambda c: ONE.all(c, wanted="z")) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], []),
        (["a"], [("a", True)]),
        (["b", "z", "a", "a"], [("a", True), ("b", None)]),
        (["a'; --", 'a"]', "{a}", "a\\", "NULL", ""], []),
        (['say "a", \\ or {b}', "a"], [("a", True), ('say "a", \\ or {b}', False)]),
    ],
)
def test_a_list_is_one_parameter(
    things: Store, wanted: list[str], found: list[tuple[str, bool | None]]
) -> None:
    things.write_now(lambda c: insert(c, thing, [{"id": 'say "a", \\ or {b}', "usable": False}]))
    assert things.read_now(lambda c: SOME.tuples(c, wanted=wanted)) == found


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_list_is_read_once_and_not_for_each_row_that_is_looked_at(things: Store) -> None:
    """A text that is cast to an array in the statement took a rebuild five times as long."""

    def plan(connection: sa.Connection) -> str:
        SOME.tuples(connection, wanted=["a"])
        compiled = SOME._compiled["postgresql"]
        parameters = compiled.parameters({"wanted": ["a", "b"]})
        return str(run(connection, f"EXPLAIN {compiled.text}", parameters).fetchall())

    assert "ANY ('{a,b}'::text[])" in things.read_now(plan)


def test_times_are_compared_in_utc_whatever_zone_they_are_given_in(things: Store) -> None:
    rome = NOON.astimezone(timezone(timedelta(hours=1)))
    after = rome + timedelta(microseconds=1)
    assert things.read_now(lambda c: SINCE.scalars(c, **{"from": rome})) == ["a"]
    assert things.read_now(lambda c: SINCE.scalars(c, **{"from": after})) == []
    with pytest.raises(ValueError, match="without a zone"):
        things.read_now(lambda c: SINCE.scalars(c, **{"from": NOON.replace(tzinfo=None)}))


def test_run_says_how_many_rows_it_met(things: Store) -> None:
    assert things.write_now(lambda c: RENAME.run(c, of="b", to="new")) == 1
    assert things.write_now(lambda c: RENAME.run(c, of="z", to="new")) == 0
    assert things.read_now(lambda c: ONE.first(c, wanted="b")) == {**EMPTY, "name": "new"}


@pytest.mark.parametrize("count", [1, 15, 16, 17, 129, 300])
def test_insert_ignore_says_how_many_were_new(things: Store, count: int) -> None:
    rows = [{"id": f"n{number}"} for number in range(count)]
    assert things.write_now(lambda c: insert_ignore(c, thing, [{"id": "a"}, *rows])) == count
    assert things.write_now(lambda c: insert_ignore(c, thing, rows)) == 0


def test_a_value_too_many_is_a_mistake_before_anything_is_asked(things: Store) -> None:
    with pytest.raises(TypeError, match="no parameters of it: off"):
        things.write_now(lambda c: RENAME.run(c, off="b", of="a", to="b"))


def test_a_value_that_is_missing_is_a_mistake_before_anything_is_asked(things: Store) -> None:
    with pytest.raises(KeyError, match="to"):
        things.write_now(lambda c: RENAME.run(c, of="a"))


def test_it_fails_as_sqlalchemy_does_without_saying_the_values(things: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        things.write_now(lambda c: COPY.run(c, id="a", name="Amina"))
    assert "Amina" not in str(caught.value)
    assert not caught.value.connection_invalidated
    assert not is_transient(caught.value)


def test_what_one_read_asks_belongs_to_one_moment(things: Store) -> None:
    """Also where nothing but such statements is asked: the first one begins the transaction."""

    def twice(connection: sa.Connection) -> tuple[Any, Any]:
        before = ONE.first(connection, wanted="b")
        things.write_now(lambda c: RENAME.run(c, of="b", to="later"))
        return before, ONE.first(connection, wanted="b")

    before, after = things.read_now(twice)
    assert before == after == EMPTY


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_server_that_hangs_up_is_waited_out(things: Store) -> None:
    end = Prepared(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with pytest.raises(sa.exc.DBAPIError) as caught:
        things.write_now(end.run)
    assert caught.value.connection_invalidated
    assert is_transient(caught.value)
    assert things.write_now(lambda c: RENAME.run(c, of="a", to="there again")) == 1
