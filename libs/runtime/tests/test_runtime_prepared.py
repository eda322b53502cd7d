"""Statements that the driver runs itself give what SQLAlchemy gives, and fail as it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.failures import is_transient
from runtime.named import among
from runtime.prepared import Prepared, RefusedTogether, run, together
from runtime.rows import add, change, ensure, insert, insert_ignore, insert_once, upsert
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
part = sa.Table(
    "part",
    metadata,
    sa.Column("thing_id", Id, sa.ForeignKey("thing.id"), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
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


# together


def named(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": one, "name": one} | more for one in ids]


def parts(store: Store) -> list[tuple[str, int]]:
    query = sa.select(part.c.thing_id, part.c.count).order_by(part.c.thing_id)
    return [tuple(row) for row in store.read_now(lambda c: c.execute(query).all())]


def test_what_is_written_together_is_one_statement_on_postgresql(
    things: Store, asked: list[tuple[str, Any]]
) -> None:
    def write(connection: sa.Connection) -> None:
        with together(connection):
            insert(connection, thing, named("c", "d"))
            upsert(connection, part, [{"thing_id": "c", "count": 2}], key=("thing_id",))

    things.write_now(write)
    assert len([text for text, _ in asked if "INSERT" in text]) == (
        1 if things.dialect == "postgresql" else 2
    )
    assert things.read_now(ALL.scalars) == ["a", "b", "c", "d"]
    assert parts(things) == [("c", 2)]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)  # SQLite locks no rows
def test_tables_are_written_in_the_order_in_which_they_came(store: Store) -> None:
    made = sa.MetaData()
    tables = [
        sa.Table(
            name,
            made,
            sa.Column("id", Id, primary_key=True),
            sa.Column("turn", sa.BigInteger, server_default=sa.text("nextval('turns')")),
        )
        for name in ("d", "a", "c", "b")
    ]

    def write(connection: sa.Connection) -> list[int]:
        connection.execute(sa.text("CREATE SEQUENCE turns"))
        made.create_all(connection)
        with together(connection):
            for table in tables:
                insert(connection, table, [{"id": "x"}])
        return [connection.scalar(sa.select(table.c.turn)) or 0 for table in tables]

    assert store.write_now(write) == [1, 2, 3, 4]


def test_a_table_that_comes_again_sees_what_was_written_before(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        with together(connection):
            add(connection, part, [{"thing_id": "a", "count": 2}], key=("thing_id",))
            ensure(connection, thing, named("a", "c"))
            add(connection, part, [{"thing_id": "a", "count": 3}], key=("thing_id",))

    things.write_now(write)
    assert parts(things) == [("a", 5)]
    assert things.read_now(ALL.scalars) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: ALL.scalars(c),
        lambda c: list(c.scalars(sa.select(thing.c.id).order_by("id"))),
        lambda c: ["a", "b", "c"] if insert_ignore(c, thing, named("c", "d")) == 1 else [],
    ],
    ids=["prepared", "sqlalchemy", "counted"],
)
def test_whoever_asks_meanwhile_finds_what_was_written(things: Store, ask: Any) -> None:
    def write(connection: sa.Connection) -> Any:
        with together(connection):
            insert(connection, thing, named("c"))
            return ask(connection)

    assert things.write_now(write) == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", [named("x", "a"), named("x", name=None)], ids=["key", "null"])
def test_what_is_refused_is_raised_and_nothing_is_kept(
    things: Store, wrong: list[dict[str, Any]]
) -> None:
    def write(connection: sa.Connection) -> None:
        with together(connection):
            upsert(connection, part, [{"thing_id": "b", "count": 1}], key=("thing_id",))
            insert(connection, thing, wrong)

    with pytest.raises(sa.exc.IntegrityError):  # as it is said one by one: nothing waits then
        things.write_now(write)
    assert things.read_now(ALL.scalars) == ["a", "b"]
    assert parts(things) == []
    # The connection goes back as it was.
    things.write_now(lambda c: insert(c, thing, named("c")))
    assert things.read_now(ALL.scalars) == ["a", "b", "c"]


def test_what_waited_is_forgotten_with_an_error(things: Store) -> None:
    def write(connection: sa.Connection) -> None:
        with together(connection):
            insert(connection, thing, named("c"))
            raise LookupError

    with pytest.raises(LookupError):
        things.write_now(write)
    assert things.read_now(ALL.scalars) == ["a", "b"]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)  # SQLite has nothing waiting
def test_a_refusal_names_the_table(things: Store) -> None:
    said: list[str | None] = []

    def write(connection: sa.Connection) -> None:
        try:
            with together(connection):
                upsert(connection, part, [{"thing_id": "b", "count": 1}], key=("thing_id",))
                insert(connection, thing, named("a"))
        except RefusedTogether as refused:
            said.append(refused.table)
            raise

    with pytest.raises(sa.exc.IntegrityError):
        things.write_now(write)
    assert said == ["thing"]


def test_who_takes_rows_for_new_is_told_when_they_are_not(things: Store) -> None:
    turns: list[str] = []

    def write(connection: sa.Connection, wanted: list[dict[str, Any]]) -> bool:
        turns.append("once")
        with together(connection):
            new = insert_once(connection, thing, wanted)
            insert(connection, part, [{"thing_id": wanted[0]["id"], "count": len(turns)}])
        return new

    assert things.write_now(lambda c: write(c, named("c", "d")))
    assert len(turns) == 1
    assert not things.write_now(lambda c: write(c, named("a", "e")))
    assert len(turns) == (3 if things.dialect == "postgresql" else 2)
    assert things.read_now(ALL.scalars) == ["a", "b", "c", "d", "e"]
    assert parts(things) == [("a", len(turns)), ("c", 1)]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_server_that_is_lost_in_the_second_turn_is_told_as_such(things: Store) -> None:
    turns: list[bool] = []

    def write(connection: sa.Connection) -> None:
        with together(connection):
            turns.append(insert_once(connection, thing, named("a")))
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(sa.exc.OperationalError) as caught:
        things.write_now(write)
    assert turns == [True, False]
    assert is_transient(caught.value)
    assert things.write_now(lambda c: insert_once(c, thing, named("c")))
    assert things.read_now(ALL.scalars) == ["a", "b", "c"]


def test_a_change_meets_the_rows_that_are_there(
    things: Store, asked: list[tuple[str, Any]]
) -> None:
    later = NOON + timedelta(hours=1)
    rows = [
        {"id": "b", "at": later, "traits": {"é": [1]}, "usable": False, "bytes": b"\x01"},
        {"id": "nobody", "at": later, "traits": None, "usable": True, "bytes": b""},
        {"id": "a", "at": None, "traits": None, "usable": None, "bytes": None},
    ]

    def write(connection: sa.Connection) -> None:
        with together(connection):
            insert(connection, part, [{"thing_id": "a", "count": 1}])
            change(connection, thing, rows, key="id")

    things.write_now(write)
    assert len([text for text, _ in asked if "UPDATE" in text]) == 1
    assert things.read_now(ALL.all) == [
        FULL | {"at": None, "traits": None, "usable": None, "bytes": None},
        EMPTY | {"at": later, "traits": {"é": [1]}, "usable": False, "bytes": b"\x01"},
    ]
    assert parts(things) == [("a", 1)]


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_change_of_a_few_rows_does_not_read_the_table(
    things: Store, asked: list[tuple[str, Any]]
) -> None:
    def many(connection: sa.Connection) -> None:
        ensure(connection, thing, named(*(f"{n:04}" for n in range(3_000))))
        connection.execute(sa.text("ANALYZE"))

    things.write_now(many)
    asked.clear()
    things.write_now(lambda c: change(c, thing, named("0007", "0008"), key="id"))
    plan = things.read_now(
        lambda c: c.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {asked[0][0]}").scalars().all()
    )
    assert not any("Seq Scan on thing" in line for line in plan), plan


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)  # SQLite knows what there is
def test_a_list_is_looked_for_by_the_index_though_the_table_was_empty_at_first(
    things: Store,
) -> None:
    """PostgreSQL keeps the plan of a statement that comes again and again, and counts a table that
    has grown a minute later."""
    wanted = [f"{n}" for n in range(100)]
    filled = sa.text(
        "INSERT INTO thing (id, name) SELECT n, '' FROM"
        " generate_series(CAST(:first AS int), CAST(:last AS int)) n"
    )

    def looked(connection: sa.Connection) -> int:
        seen = connection.scalar(
            sa.text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'thing'")
        )
        return int(seen or 0)

    def go(connection: sa.Connection) -> tuple[int, int]:
        connection.execute(filled, {"first": 0, "last": 99})
        connection.execute(sa.text("ANALYZE thing"))
        for _ in range(20):
            assert len(SOME.all(connection, wanted=wanted)) == len(wanted)
            change(connection, thing, [{"id": f"no {n}", "count": 0} for n in wanted], key="id")
        connection.execute(filled, {"first": 100, "last": 99_999})
        before = looked(connection)
        assert len(SOME.all(connection, wanted=wanted)) == len(wanted)
        change(connection, thing, [{"id": one, "count": 1} for one in wanted], key="id")
        return before, looked(connection)

    before, after = things.write_now(go)
    assert before == after
