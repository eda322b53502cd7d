"""Rows that are written set by set mean the same on both engines."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from runtime.store import Store, insert_ignore, lock_rows, upsert
from runtime.types import Id, Json, UtcDateTime, moment_text

metadata = sa.MetaData()
person = sa.Table(
    "person",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("seen_at", UtcDateTime),
    sa.Column("traits", Json),
)

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


@pytest.fixture
def visitors(store: Store) -> Store:
    store.write_now(metadata.create_all)
    return store


def add(connection: sa.Connection, id: str) -> None:
    connection.execute(sa.insert(person), {"id": id, "name": id})


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_rows_locked_in_id_order_do_not_deadlock(visitors: Store) -> None:
    visitors.write_now(lambda c: insert_ignore(c, person, [{"id": f"{n:02}"} for n in range(20)]))

    def change(connection: sa.Connection, order: list[str]) -> None:
        lock_rows(connection, person, order)
        for id in order:
            connection.execute(sa.update(person).where(person.c.id == id).values(name="changed"))

    forward = [f"{n:02}" for n in range(20)]
    backward = forward[::-1]
    threads = [
        threading.Thread(
            target=lambda o=order: [visitors.write_now(lambda c: change(c, o)) for _ in range(10)]
        )
        for order in (forward, backward)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (
        visitors.read_now(
            lambda c: c.scalar(sa.select(sa.func.count()).where(person.c.name == "changed"))
        )
        == 20
    )


def test_insert_ignore_leaves_what_is_there(visitors: Store) -> None:
    visitors.write_now(lambda c: add(c, "a"))
    rows = [{"id": "a", "name": "other"}, {"id": "b", "name": "b"}, {"id": "b", "name": "again"}]
    visitors.write_now(lambda c: insert_ignore(c, person, rows))
    visitors.write_now(lambda c: insert_ignore(c, person, []))
    found = visitors.read_now(lambda c: c.execute(sa.select(person.c.id, person.c.name)).all())
    assert sorted(tuple(row) for row in found) == [("a", "a"), ("b", "b")]


def test_what_comes_late_does_not_undo_what_is_newer(visitors: Store) -> None:
    later, earlier = NOON, NOON - timedelta(hours=1)

    def put(name: str, at: datetime) -> None:
        row = {"id": "a", "name": name, "seen_at": at}
        visitors.write_now(lambda c: upsert(c, person, [row], key=["id"], newer="seen_at"))

    def name() -> str | None:
        return visitors.read_now(lambda c: c.scalar(sa.select(person.c.name)))

    visitors.write_now(lambda c: add(c, "a"))
    put("over the stub", earlier)
    assert name() == "over the stub"
    put("later", later)
    put("earlier", earlier)
    assert name() == "later"
    put("same time, told last", later)
    assert name() == "same time, told last"


def test_upsert_takes_many_rows_of_one_key_in_order(visitors: Store) -> None:
    rows = [
        {"id": "a", "name": "second", "seen_at": NOON},
        {"id": "a", "name": "first", "seen_at": NOON - timedelta(days=1)},
        {"id": "b", "name": "b", "seen_at": NOON},
        {"id": "a", "traits": {"k": [1]}, "seen_at": NOON},
    ]
    visitors.write_now(lambda c: upsert(c, person, rows, key=["id"], newer="seen_at"))
    found = visitors.read_now(
        lambda c: c.execute(
            sa.select(person.c.id, person.c.name, person.c.traits).order_by("id")
        ).all()
    )
    assert [tuple(row) for row in found] == [("a", "second", {"k": [1]}), ("b", "b", None)]


def test_times_come_back_in_utc_and_sort(visitors: Store) -> None:
    rome = datetime(2026, 11, 16, 13, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    rows = [{"id": "a", "seen_at": NOON}, {"id": "b", "seen_at": rome}]
    visitors.write_now(lambda c: insert_ignore(c, person, rows))
    found = visitors.read_now(
        lambda c: c.scalars(sa.select(person.c.seen_at).order_by(person.c.seen_at.desc())).all()
    )
    assert found == [rome, NOON]
    assert all(at is not None and at.tzinfo == UTC for at in found)
    latest = visitors.read_now(lambda c: c.scalar(sa.select(sa.func.max(person.c.seen_at))))
    assert latest == rome


def test_a_time_without_a_zone_is_refused(visitors: Store) -> None:
    row = {"id": "a", "seen_at": datetime(2026, 11, 16)}  # noqa: DTZ001
    with pytest.raises(ValueError, match="without a zone"):
        visitors.write_now(lambda c: insert_ignore(c, person, [row]))


@given(moment=st.datetimes(timezones=st.timezones()))
def test_a_moment_is_text_of_fixed_width_in_utc(moment: datetime) -> None:
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:
        return
    assert moment_text(moment) == in_utc.strftime(f"{in_utc.year:04d}-%m-%dT%H:%M:%S.%fZ")
