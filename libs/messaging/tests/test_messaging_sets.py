"""A read model is written set by set, and nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import runtime.prepared
from contracts.activities import ActivityCreated
from messaging import Policies, Projection, ProjectionTransaction, Received, Service
from messaging.envelope import decode
from messaging.outcome import Overtaken, live_projections
from messaging.tables import inbox, metadata_with_messaging
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.store import Store, insert

METADATA = metadata_with_messaging()
newest = sa.Table(
    "newest",
    METADATA,
    sa.Column("activity_id", sa.String(40), primary_key=True),
    sa.Column("title", sa.String(40)),
    sa.Column("note", sa.String(40)),
    sa.Column("at", sa.Integer, nullable=False),
)
total = sa.Table(
    "total",
    METADATA,
    sa.Column("activity_id", sa.String(40), primary_key=True),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("letters", sa.BigInteger, nullable=False),
)
once = sa.Table("once", METADATA, sa.Column("title", sa.String(40), primary_key=True))
noticed = sa.Table(
    "noticed",
    METADATA,
    sa.Column("event_id", sa.String(64), primary_key=True),
    sa.Column("titles", sa.Integer, nullable=False),
)
POLICIES = Policies()
NEWEST = Projection("newest", version=1, tables=(newest,))
ONCE = Projection("once", version=1, tables=(once,))
TOTAL = Projection("total", version=1, tables=(total,))


@POLICIES.on(ActivityCreated)
def look(tx: Transaction, received: Received[ActivityCreated]) -> None:
    """Reads what a read model has of the events before, or writes what cannot be."""
    if received.event.title == "wrong":
        tx.collect(noticed, {"event_id": received.id, "titles": None})
    if received.event.title == "look":
        count = tx.connection.scalar(sa.select(sa.func.count()).select_from(once)) or 0
        tx.collect(noticed, {"event_id": received.id, "titles": count})


@NEWEST.on(ActivityCreated)
def is_newest(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    what, _, at = received.event.title.partition(" ")
    row = {"activity_id": received.event.activity_id, "at": int(at or 0)}
    if what != "null":
        row |= {"title" if what != "note" else "note": received.event.title}  # type: ignore[dict-item]
    else:
        row["at"] = None  # type: ignore[assignment]
    p.upsert(p.table(newest), row, key=("activity_id",), newer="at" if at else None)


@ONCE.on(ActivityCreated)
def is_there(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    p.upsert(p.table(once), {"title": received.event.title}, key=("title",))


@TOTAL.on(ActivityCreated)
def is_counted(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    event = received.event
    row = {"activity_id": event.activity_id, "events": 1, "letters": len(event.title)}
    p.add(p.table(total), row, key=("activity_id",))


SERVICE = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=METADATA,
    topics=("network.events",),
    policies=POLICIES,
    projections=(NEWEST, ONCE, TOTAL),
)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made


def created(clock: FixedClock, title: str, activity: str) -> ActivityCreated:
    return ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=clock.now())


def rows(bench: Bench, table: sa.Table) -> list[tuple[object, ...]]:
    key = list(table.primary_key.columns)
    return bench.read(lambda c: [tuple(r) for r in c.execute(sa.select(table).order_by(*key))])


TALK = [
    ("a", "t 1"),
    ("b", "t 5"),
    ("a", "note 3"),
    ("b", "note 2"),
    ("a", "t 2"),
    ("c", "t"),
    ("b", "t 7"),
    ("c", "t 4"),
    ("a", "t 9"),
]


def test_a_batch_leaves_what_its_events_one_by_one_would(bench: Bench, clock: FixedClock) -> None:
    bench.settle([bench.record(created(clock, title, activity)) for activity, title in TALK])
    together = rows(bench, newest)
    bench.store.write_now(lambda c: c.execute(sa.delete(newest)) and None)
    for activity, title in TALK:
        bench.settle([bench.record(created(clock, title, activity))])
    assert rows(bench, newest) == together
    assert together == [("a", "t 9", "note 3", 9), ("b", "t 7", None, 7), ("c", "t 4", None, 4)]


def test_figures_add_up_whatever_the_batches_and_each_event_once(
    bench: Bench, clock: FixedClock
) -> None:
    records = [bench.record(created(clock, title, activity)) for activity, title in TALK]
    bench.settle(records[:4])
    bench.settle(records[2:] + records[5:7])
    expected = {
        name: [title for activity, title in TALK if activity == name] for name in ("a", "b", "c")
    }
    assert rows(bench, total) == [
        (name, len(titles), sum(map(len, titles))) for name, titles in expected.items()
    ]
    bench.rebuild_equals()


def test_a_batch_costs_few_statements_whatever_its_number_of_events(
    bench: Bench, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    really = runtime.prepared.run_at_once

    def seen(connection: sa.Connection, text: str, *rest: Any, **more: Any) -> Any:
        if "INSERT INTO newest" in text or "INSERT INTO total" in text:
            statements.append(text)
        return really(connection, text, *rest, **more)

    records = [bench.record(created(clock, f"t {n}", f"a{n % 50}")) for n in range(200)]
    bench.settle(records[:1])
    monkeypatch.setattr(runtime.prepared, "run_at_once", seen)
    bench.settle(records[1:])
    assert 1 <= len(statements) <= 8
    assert len(rows(bench, newest)) == 50


def test_what_a_policy_writes_wrongly_is_set_aside_alone(bench: Bench, clock: FixedClock) -> None:
    """Nobody says whose row it was when those of a batch are refused together."""
    titles = ["1", "wrong", "2"]
    bench.settle([bench.record(created(clock, t, f"a{n}")) for n, t in enumerate(titles)])
    assert [one.reason.split()[0] for one in bench.set_aside()] == ["IntegrityError"]
    assert [activity for activity, *_ in rows(bench, newest)] == ["a0", "a2"]
    bench.rebuild_equals()


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)  # SQLite has one writer
def test_who_was_overtaken_keeps_nothing_and_looks_again(bench: Bench, clock: FixedClock) -> None:
    """Another replica has settled the same event meanwhile, at another place of the log."""
    bench.settle([bench.record(created(clock, "1", "a"))])
    item = decode(bench.append(bench.record(created(clock, "2", "a"))))
    other = Store(bench.store.url)

    def meanwhile() -> bool:
        other.write_now(lambda c: insert(c, inbox, [{"event_id": item.id, "source": "another"}]))
        return True

    with pytest.raises(Overtaken):
        bench.store.write_now(lambda c: bench.settler.settle(c, [item], hurry=meanwhile))
    other.close_now()
    assert rows(bench, total) == [("a", 1, 1)]


def test_a_policy_reads_what_the_events_before_have_left(bench: Bench, clock: FixedClock) -> None:
    titles = ["1", "2", "look", "3", "look"]
    bench.settle([bench.record(created(clock, t, f"a{n}")) for n, t in enumerate(titles)])
    assert sorted(count for _, count in rows(bench, noticed)) == [2, 4]


@pytest.mark.parametrize("behind", [["3"], ["look"], ["look", "4"]])
def test_a_row_that_cannot_be_written_breaks_its_read_model_and_nothing_else(
    bench: Bench, clock: FixedClock, behind: list[str]
) -> None:
    """Also when it is only written for a policy that reads, many events later."""
    titles = ["1", "2", "null", *behind]
    bench.settle([bench.record(created(clock, t, f"a{n}")) for n, t in enumerate(titles)])
    assert bench.set_aside() == []
    assert {title for (title,) in rows(bench, once)} == set(titles)
    live = bench.read(lambda c: live_projections(c, SERVICE))
    assert NEWEST not in live
    assert ONCE in live


def test_rebuilt_it_is_the_same(bench: Bench, clock: FixedClock) -> None:
    bench.settle([bench.record(created(clock, title, activity)) for activity, title in TALK])
    bench.rebuild_equals()
