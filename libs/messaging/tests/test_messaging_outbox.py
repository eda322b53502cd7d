"""The outbox as it is written: the chain of each key, and what it costs to go on with one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from messaging import outbox
from messaging.envelope import ordered
from messaging.outbox import TICK, Draft
from messaging.tables import metadata_with_messaging
from messaging.tables import outbox as table
from runtime.ids import SystemIds
from runtime.store import Store

METADATA = metadata_with_messaging()
TOPIC = "shop.events"
PEOPLE = "cards.people"


@pytest.fixture
def outbox_of(store: Store) -> Store:
    store.write_now(METADATA.create_all)
    return store


NOW = datetime(2026, 11, 30, tzinfo=UTC)


def draft(
    event_id: str, key: str, *, cause: str | None = None, topic: str = TOPIC, at: datetime = NOW
) -> Draft:
    return Draft(event_id, topic, key, cause, "t", {}, b"{}", at)


def chain(store: Store) -> dict[str, str | None]:
    query = sa.select(table.c.id, table.c.previous)
    return {row.id: row.previous for row in store.read_now(lambda c: c.execute(query).all())}


def test_each_event_names_the_one_before_it_of_its_topic_and_key(outbox_of: Store) -> None:
    first = [draft("1", "a"), draft("2", "b"), draft("3", "a", topic="cards.events")]
    second = [draft("4", "a"), draft("5", "a"), draft("6", "c"), draft("7", "a", cause="x")]
    third = [draft("7", "a", cause="x"), draft("8", "b", cause="x"), draft("9", "a", cause="y")]
    news = [outbox_of.write_now(lambda c, d=d: outbox.write(c, d)) for d in (first, second, third)]
    assert news == [3, 4, 2], "a reaction that is there was decided before"
    assert chain(outbox_of) == {
        **{"1": None, "2": None, "3": None},
        **{"4": "1", "5": "4", "6": None, "7": "5"},
        **{"8": "2", "9": "7"},
    }


def test_of_two_events_of_a_key_the_later_one_has_the_later_order(outbox_of: Store) -> None:
    """They were told at once, and the clock was 50 days ahead for a while."""
    ahead, later = NOW + timedelta(days=50), NOW + timedelta(days=51)
    for drafts in (
        [draft("1", "a", at=NOW - TICK), draft("2", "a"), draft("3", "a")],
        [draft("4", "a", at=ahead), draft("5", "b", at=ahead)],
        [draft("6", "a"), draft("7", "a", cause="x"), draft("8", "c")],
        [draft("9", "a", at=later), draft("p", "b", topic=PEOPLE, at=ahead)],
        [draft("q", "b", topic=PEOPLE)],
    ):
        outbox_of.write_now(lambda c, d=drafts: outbox.write(c, d))
    query = sa.select(table.c.id, table.c.at, table.c.headers)
    rows = {row.id: row for row in outbox_of.read_now(lambda c: c.execute(query).all())}
    order = {name: row.at for name, row in rows.items()}
    assert order == {
        **{"1": NOW - TICK, "2": NOW, "3": NOW + TICK},
        **{"4": ahead, "6": ahead + TICK, "7": ahead + 2 * TICK, "9": later},
        **{"5": ahead, "8": NOW, "p": ahead, "q": NOW},
    }
    assert {name: row.headers for name, row in rows.items() if row.headers} == {
        name: ordered(order[name]) for name in ("3", "6", "7")
    }


@pytest.mark.parametrize("learnt", [True, False])
@pytest.mark.parametrize("cause", [None, "x"])
def test_a_key_of_very_many_events_is_not_read_for_its_last(
    outbox_of: Store, asked: list[tuple[str, Any]], cause: str | None, learnt: bool
) -> None:
    """A product that is sold every day has tens of thousands after a year; and the database may
    have learnt that of two keys one has nearly all."""
    ids = SystemIds()
    few, many = ("seldom", 3), ("daily", 3_000)
    for key, count in (few, many):
        drafts = [draft(ids.new(), key) for _ in range(count)]
        outbox_of.write_now(lambda c, d=drafts: outbox.write(c, d))
    if learnt:
        outbox_of.write_now(lambda c: c.execute(sa.text("ANALYZE")))

    def told(key: str) -> int:
        asked.clear()
        next_one = [draft(ids.new(), key, cause=cause), draft(ids.new(), ids.new(), cause=cause)]
        outbox_of.write_now(lambda c: outbox.write(c, next_one))
        looks = [(text, given) for text, given in asked if "outbox.topic" in text]
        assert len(looks) == 1
        return outbox_of.read_now(lambda c: effort(c, *looks[0]))

    assert told("daily") <= told("seldom") + 20


def effort(connection: sa.Connection, text: str, given: Sequence[Any]) -> int:
    """Steps of SQLite's machine, or rows that the parts of PostgreSQL's plan handed on."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        steps = [0]

        def step() -> int:
            steps[0] += 1
            return 0

        driver.execute(text, given).fetchall()  # who asks first reads the schema too
        driver.set_progress_handler(step, 1)
        driver.execute(text, given).fetchall()
        driver.set_progress_handler(None, 1)
        return steps[0]
    explained = connection.dialect.loaded_dbapi.RawCursor(driver).execute(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", given
    )
    return handed_on(explained.fetchone()[0][0]["Plan"])


def handed_on(part: dict[str, Any]) -> int:
    rows = part["Actual Rows"] + part.get("Rows Removed by Filter", 0)
    return int(rows * part["Actual Loops"]) + sum(map(handed_on, part.get("Plans", [])))
