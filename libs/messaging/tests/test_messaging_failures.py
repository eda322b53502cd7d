"""What fails while settling is blamed on the right event, once, and holds up nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from contracts.activities import ActivityCreated
from contracts.people import PersonErased
from messaging import Policies, Projection, ProjectionTransaction, Received, Service, aside
from messaging.attempt import Outcome, Place
from messaging.envelope import Marker, Unreadable, decode, ordered
from messaging.outbox import TICK
from messaging.tables import inbox, metadata_with_messaging, set_aside
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SequenceIds

METADATA = metadata_with_messaging()
done = sa.Table("done", METADATA, sa.Column("event_id", sa.String, primary_key=True))
titles = sa.Table(
    "titles",
    METADATA,
    sa.Column("activity_id", sa.String, primary_key=True),
    sa.Column("titles", sa.String, nullable=False),
)
POLICIES = Policies()
TITLES = Projection("titles", version=1, tables=(titles,))


@POLICIES.on(ActivityCreated)
def do(tx: Transaction, received: Received[ActivityCreated]) -> None:
    if received.event.title.startswith("bad"):
        raise RuntimeError(received.event.title)
    if received.event.title == "twice":
        tx.collect(done, {"event_id": received.id})
    tx.collect(done, {"event_id": received.id})
    if received.event.title == "callback":
        tx.after_commit(_fail)


def _fail() -> None:
    raise RuntimeError("a page that nobody looks at any more")


@TITLES.on(ActivityCreated)
def note(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    table = p.table(titles)
    key = received.event.activity_id
    was = p.connection.scalar(sa.select(table.c.titles).where(table.c.activity_id == key)) or ""
    p.upsert(
        table, {"activity_id": key, "titles": was + received.event.title}, key=("activity_id",)
    )


SERVICE = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=METADATA,
    topics=("network.events",),
    policies=POLICIES,
    projections=(TITLES,),
)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made


def created(clock: FixedClock, title: str, activity: str = "a") -> ActivityCreated:
    return ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=clock.now())


def all_titles(bench: Bench) -> dict[str, str]:
    rows = bench.read(lambda c: c.execute(sa.select(titles.c.activity_id, titles.c.titles)).all())
    return dict(map(tuple, rows))


def states(bench: Bench) -> dict[str, str]:
    rows = bench.read(lambda c: c.execute(sa.select(set_aside.c.event_id, set_aside.c.state)).all())
    return dict(map(tuple, rows))


@pytest.mark.parametrize("title", ["bad", "twice"])
def test_who_waited_and_fails_is_to_blame_and_not_whom_it_waited_for(
    bench: Bench, clock: FixedClock, title: str
) -> None:
    first, second, third = (bench.record(created(clock, t)) for t in ("1", title, "3"))
    bench.settle([third, second])
    bench.settle([first])
    assert all_titles(bench) == {"a": "1"}
    bench.retry()
    ids = [decode(r).id for r in (second, third)]
    assert states(bench) == dict(zip(ids, ["retrying", "waiting"], strict=True))
    for minutes in (1, 10, 60):
        clock.advance(timedelta(minutes=minutes))
        bench.retry()
    assert states(bench) == {ids[0]: "dead"}, "the third passes once the second is given up"
    assert all_titles(bench) == {"a": "13"}


def test_a_dead_one_lets_its_followers_pass_even_when_the_first_of_them_fails(
    bench: Bench, clock: FixedClock
) -> None:
    records = [bench.record(created(clock, t)) for t in ("bad 1", "bad 2", "3")]
    bench.settle(records)
    for minutes in (1, 10, 60, 1, 10, 60, 60):
        clock.advance(timedelta(minutes=minutes))
        bench.retry()
    ids = [decode(r).id for r in records]
    assert states(bench) == {ids[0]: "dead", ids[1]: "dead"}
    assert all_titles(bench) == {"a": "3"}


def test_what_waits_for_one_that_is_still_tried_waits_on_after_an_hour(
    bench: Bench, clock: FixedClock
) -> None:
    bench.settle([bench.record(created(clock, t)) for t in ("bad", "2")])
    for _ in range(6):
        clock.advance(timedelta(minutes=11))
        bench.retry()
    assert sorted(states(bench).values()) == ["retrying", "waiting"]
    clock.advance(timedelta(minutes=17))
    bench.retry()
    assert sorted(states(bench).values()) == ["dead"]
    assert all_titles(bench) == {"a": "2"}


def test_a_try_that_a_wrong_clock_has_put_off_is_made_when_the_clock_is_right(
    bench: Bench, clock: FixedClock
) -> None:
    right = clock.now()
    clock.set(right + timedelta(days=50))
    bench.settle([bench.record(created(clock, t)) for t in ("bad", "2")])
    clock.set(right)
    for minutes in (0, 1, 10, 60):
        clock.advance(timedelta(minutes=minutes))
        bench.retry()
    assert list(states(bench).values()) == ["dead"]
    assert all_titles(bench) == {"a": "2"}


def test_what_waits_for_an_hour_is_not_due_to_a_replica_whose_clock_is_behind(
    bench: Bench, clock: FixedClock
) -> None:
    right = clock.now()
    clock.set(right + timedelta(minutes=4))
    bench.record(created(clock, "1"))
    bench.settle([bench.record(created(clock, "2"))])
    clock.set(right)
    assert bench.read(bench.settler.due) == []
    assert list(states(bench).values()) == ["waiting"]


def test_what_was_set_aside_and_settled_besides_has_no_second_effect(
    bench: Bench, clock: FixedClock
) -> None:
    """It lay in two partitions: a replica set it aside while another settled it."""
    first, second, third = (bench.record(created(clock, t)) for t in "123")
    items = [decode(r) for r in (second, third)]

    def set_both_aside(connection: sa.Connection) -> None:
        for item in items:
            aside.put(
                *(connection, item, "waiting", "previous"),
                tries=0,
                next_try=clock.now() + timedelta(hours=1),
                at=clock.now(),
            )

    bench.settle([first, second])
    bench.store.write_now(set_both_aside)
    bench.retry()
    assert all_titles(bench) == {"a": "123"}
    assert states(bench) == {}
    bench.store.write_now(set_both_aside)
    bench.retry()
    assert all_titles(bench) == {"a": "123"}
    assert states(bench) == {}


def test_what_cannot_be_read_keeps_nobody_from_being_tried(bench: Bench, clock: FixedClock) -> None:
    """A build that was put back to an earlier one finds rows of the later one, and tries them."""
    good = bench.record(created(clock, "bad", "b"))
    newer = [(n, v.replace(b".v1", b".v9") if n == "ce_type" else v) for n, v in good.headers]
    strange = [decode(good._replace(headers=_called(newer, f"strange-{n}"))) for n in range(100)]

    def set_aside_before(connection: sa.Connection) -> None:
        at = clock.now() - timedelta(days=1)
        for item in strange:
            aside.put(connection, item, "retrying", "a bug", tries=1, next_try=at, at=at)

    bench.store.write_now(set_aside_before)
    bench.settle([good])
    clock.advance(timedelta(minutes=1))
    assert len(bench.read(bench.settler.due)) == 100
    bench.retry()
    assert [decode(good).id] == bench.read(bench.settler.due)
    clock.advance(timedelta(hours=2))
    assert len(bench.read(bench.settler.due)) == 100, "they are looked at again later"


def _called(headers: list[tuple[str, bytes]], event_id: str) -> list[tuple[str, bytes]]:
    return [(n, event_id.encode() if n == "ce_id" else v) for n, v in headers]


def test_a_nul_anywhere_in_a_record_is_kept_as_another_sign(
    bench: Bench, clock: FixedClock
) -> None:
    """PostgreSQL keeps none in a text; the record would be tried for ever."""
    good = bench.record(created(clock, "1"))
    typed = [(n, b"no\0such.v1" if n == "ce_type" else v) for n, v in good.headers]
    named = [*_called(list(good.headers), "e\0"), ("a\0b", b"\0")]
    bench.settle([good._replace(headers=typed), good._replace(headers=named)])
    assert {row.reason for row in bench.set_aside("dead")} == {
        "type.unknown: no\ufffdsuch.v1",
        "header.invalid: ce_id",
    }


def test_discarding_lets_followers_pass_whatever_becomes_of_them(
    bench: Bench, clock: FixedClock
) -> None:
    records = [bench.record(created(clock, t)) for t in ("bad 1", "bad 2")]
    bench.settle(records)
    first, second = (decode(r).id for r in records)
    bench.settler.discard(bench._write, first, "not for us")
    bench.retry()
    assert states(bench) == {first: "discarded", second: "retrying"}


def test_a_callback_that_fails_does_not_undo_what_was_committed(
    bench: Bench, clock: FixedClock
) -> None:
    bench.deliver(created(clock, "callback"), created(clock, "2"))
    assert all_titles(bench) == {"a": "callback2"}
    assert states(bench) == {}


def test_what_an_older_build_could_not_read_is_tried_at_every_start(
    bench: Bench, clock: FixedClock
) -> None:
    good = bench.record(created(clock, "1"))
    newer = [(n, v.replace(b".v1", b".v9") if n == "ce_type" else v) for n, v in good.headers]
    bench.settle([good._replace(headers=newer)])
    (event_id,) = states(bench)
    for _ in range(2):
        why = bench.settler.retry(bench._write, event_id)
        assert why.startswith("version.newer")
        (row,) = bench.set_aside("dead")
        assert row.reason.startswith("version.newer"), "by its reason it is found again"
        assert row.tries == 0


def test_a_batch_given_again_after_a_fault_is_not_read_from_the_beginning(
    bench: Bench, clock: FixedClock
) -> None:
    bench.settle([bench.record(created(clock, "0"))])
    texts = ["1", "2", "bad", "4", "5"]
    records = [bench.append(bench.record(created(clock, t, activity=t))) for t in texts]
    records = [r._replace(partition=1, offset=n) for n, r in enumerate(records)]
    items = [decode(r) for r in records]
    bench.settler.settle_all(bench._write, items[:1])
    writes = 0

    def write(work: Callable[[sa.Connection], Outcome]) -> Outcome:
        nonlocal writes
        writes += 1
        if writes == 3:
            locked = sqlite3.OperationalError("database is locked")
            locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise locked
        return bench._write(work)

    with pytest.raises(sqlite3.OperationalError):
        bench.settler.settle_all(write, items)
    assert bench.settler.settle_all(bench._write, items) == {}
    assert all_titles(bench) == {"a": "0"} | {k: k for k in ("1", "2", "4", "5")}
    assert list(states(bench).values()) == ["retrying"]


def test_while_others_wait_a_batch_is_settled_in_small_parts(
    bench: Bench, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.settle.SLICE", timedelta(0))
    sizes: list[int] = []
    records = [bench.append(bench.record(created(clock, "t", f"a{n}"))) for n in range(40)]
    items = [decode(r._replace(partition=0, offset=n)) for n, r in enumerate(records)]
    bench.settler.settle_all(bench._write, items[:1])
    bench.settler.settle_all(
        bench._write, items, waiting=lambda: 1, told=lambda outcome: sizes.append(outcome.done)
    )
    assert sum(sizes) == 40
    assert set(sizes) == {1}
    assert bench.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(inbox))) == 40


def test_no_record_whatsoever_makes_reading_fail(bench: Bench, clock: FixedClock) -> None:
    good = bench.record(created(clock, "1"))
    headers = dict(good.headers)

    def content(**changed: bytes) -> object:
        record = good._replace(headers=list((headers | changed).items()))
        return decode(record).content

    asked = content()
    assert isinstance(asked, Received)
    assert asked.order == asked.time
    for order, wanted in ((TICK, TICK), (-TICK, timedelta())):
        later = content(order=ordered(asked.time + order)["order"].encode())
        assert isinstance(later, Received)
        assert (later.time, later.order) == (asked.time, asked.time + wanted)
    for bad in (
        {"ce_time": b"0001-01-01T00:00:00+14:00"},
        {"ce_time": b"9999-12-31T23:59:59-14:00"},
        {"ce_time": b"2026-11-16T09:00:00"},
        {"order": b"2026-11-16T09:00:00"},
        {"order": b"soon"},
        {"ce_id": b"x\n"},
        {"previous": b"x\n"},
        {"era": "²".encode()},
    ):
        assert isinstance(content(**bad), Unreadable), bad

    class Short(list[tuple[str, bytes]]):
        def __iter__(self) -> Iterator[tuple[str, bytes]]:
            raise MemoryError

    with pytest.raises(MemoryError):  # that is not the record's fault
        decode(good._replace(headers=Short()))
    tombstone = {"ce_type": PersonErased.ce_type().encode(), "ce_subject": b"\0" * 300}
    record = good._replace(
        topic=PersonErased.TOPIC, value=None, headers=list((headers | tombstone).items())
    )
    assert isinstance(decode(record).content, Unreadable)
    marker = content(ce_type=b"messaging.era.begun.v1", ce_id=b"\0" * 80)
    assert isinstance(marker, Marker)
    assert "\0" not in marker.id


def test_a_place_that_is_gone_is_begun_anew(bench: Bench, clock: FixedClock) -> None:
    records = [bench.record(created(clock, t))._replace(partition=0) for t in "12"]
    items = [decode(r._replace(offset=n)) for n, r in enumerate(records)]
    bench.settler.expected["activities.events", 0] = Place(7, "x", 0, 0)
    assert bench.settler.settle_all(bench._write, items) == {("activities.events", 0): 0}
    assert bench.settler.settle_all(bench._write, items) == {}
    assert all_titles(bench) == {"a": "12"}
