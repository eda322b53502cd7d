"""A service that counts sales, on both engines: exactly one effect for each event."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import ClassVar

import pytest
import sqlalchemy as sa

from contracts.activities import ActivityCreated, SessionCancelled
from contracts.network import NeedRecorded
from contracts.people import PersonDescribed, PersonErased
from messaging import NotYet, Policies, Projection, ProjectionTransaction, Received, Service
from messaging.envelope import Item, decode
from messaging.outcome import live_projections
from messaging.tables import inbox, metadata_with_messaging, outbox
from messaging.testing import Bench, orders
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import eventually

METADATA = metadata_with_messaging()
told = sa.Table("told", METADATA, sa.Column("need_id", sa.String, primary_key=True))
seen = sa.Table(
    "seen",
    METADATA,
    sa.Column("activity_id", sa.String, primary_key=True),
    sa.Column("title", sa.String, nullable=False, index=True),
    sa.Column("count", sa.Integer, nullable=False),
)
POLICIES = Policies()
SEEN = Projection("seen", version=1, tables=(seen,))


class Loaded:
    """What a policy has loaded: it knows its transaction, which knows it."""

    all: ClassVar[weakref.WeakSet[Loaded]] = weakref.WeakSet()

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        tx.memo["loaded"] = self
        tx.after_commit(self.tell)
        self.all.add(self)

    def tell(self) -> None:
        """What is told of it once all is kept."""


def load(tx: Transaction) -> None:
    Loaded(tx)


@POLICIES.on(ActivityCreated)
def tell_need(tx: Transaction, received: Received[ActivityCreated]) -> None:
    event = received.event
    if event.title == "refused":
        raise RuntimeError("no")
    if (
        event.title == "later"
        and tx.connection.scalar(sa.select(sa.func.count(told.c.need_id))) == 0
    ):
        raise NotYet("nobody told anything")
    if event.title == "loads":
        load(tx)
    tx.collect(told, {"need_id": received.id})
    tx.emit(
        NeedRecorded(
            need_id=event.activity_id,
            centre_id=event.centre_id,
            zone="z",
            area="a",
            recorded_at=tx.now,
        )
    )


@SEEN.on(ActivityCreated)
def activity_seen(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    table = p.table(seen)
    if received.event.title == "broken":
        raise RuntimeError("this projection cannot")
    was = p.connection.scalar(
        sa.select(table.c.count).where(table.c.activity_id == received.event.activity_id)
    )
    p.upsert(
        table,
        {
            "activity_id": received.event.activity_id,
            "title": received.event.title,
            "count": (was or 0) + 1,
        },
        key=("activity_id",),
    )


SERVICE = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=METADATA,
    topics=("network.events",),
    policies=POLICIES,
    projections=(SEEN,),
)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made


def created(clock: FixedClock, activity: str, title: str = "t") -> ActivityCreated:
    return ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=clock.now())


def count(bench: Bench, table: sa.Table) -> int:
    return bench.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def test_what_a_transaction_has_loaded_goes_without_the_collector(
    bench: Bench, clock: FixedClock
) -> None:
    gc.disable()
    try:
        bench.run(load)
        bench.deliver(created(clock, "a", "loads"))
        assert count(bench, told) == 1
        eventually(lambda: not Loaded.all)
    finally:
        gc.enable()


def test_an_event_that_comes_twice_has_one_effect(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "a"), created(clock, "b"), created(clock, "a"))
    assert count(bench, told) == 3
    assert [e.need_id for e in bench.emitted(NeedRecorded)] == ["a", "b", "a"]
    bench.rebuild_equals()


def test_a_batch_with_repeats_is_settled_in_one_go(bench: Bench, clock: FixedClock) -> None:
    records = [bench.record(created(clock, f"a{n}")) for n in range(50)]
    bench.settle([*records, *records, *records])
    assert count(bench, told) == 50
    bench.rebuild_equals()


def test_the_outbox_is_chained_by_key(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "a"), created(clock, "b"), created(clock, "a"))
    rows = bench.read(lambda c: c.execute(sa.select(outbox).order_by(outbox.c.row)).all())
    assert [r.previous for r in rows] == [None, None, rows[0].id]
    assert all(r.cause for r in rows)


def test_what_comes_before_its_previous_waits_for_it(bench: Bench, clock: FixedClock) -> None:
    first, second, third = (bench.record(created(clock, "a", t)) for t in ("1", "2", "3"))
    bench.settle([third, second])
    assert [a.state for a in bench.set_aside()] == ["waiting", "waiting"]
    bench.settle([first])
    assert bench.set_aside() == []
    assert bench.read(lambda c: c.execute(sa.select(seen.c.title, seen.c.count)).one()) == ("3", 3)
    bench.settle([third, second, first])
    assert count(bench, told) == 3
    bench.rebuild_equals()


def test_what_waited_for_an_hour_is_applied(bench: Bench, clock: FixedClock) -> None:
    bench.record(created(clock, "a", "lost"))
    bench.settle([bench.record(created(clock, "a", "2"))])
    bench.retry()
    assert count(bench, told) == 0
    clock.advance(timedelta(minutes=61))
    bench.retry()
    assert count(bench, told) == 1
    assert bench.set_aside() == []


def test_one_bad_event_does_not_hold_up_the_others(bench: Bench, clock: FixedClock) -> None:
    records = [
        bench.record(created(clock, f"k{n}", "refused" if n == 7 else "t")) for n in range(20)
    ]
    follower = bench.record(created(clock, "k7"))
    bench.settle([*records, follower])
    assert count(bench, told) == 19
    assert sorted(a.state for a in bench.set_aside()) == ["retrying", "waiting"]
    for minutes in (1, 10, 60):
        clock.advance(timedelta(minutes=minutes, seconds=1))
        bench.retry()
    assert [a.state for a in bench.set_aside()] == ["dead"]
    assert count(bench, told) == 20, "the one behind a dead event passes"


def test_a_policy_that_lacks_a_reference_is_tried_again(bench: Bench, clock: FixedClock) -> None:
    bench.settle([bench.record(created(clock, "a", "later"))])
    assert [a.reason for a in bench.set_aside("retrying")] == ["not_yet: nobody told anything"]
    bench.deliver(created(clock, "b"))
    clock.advance(timedelta(minutes=1))
    bench.retry()
    assert bench.set_aside() == []
    assert count(bench, told) == 2


def test_a_projection_that_fails_is_broken_and_the_event_goes_on(
    bench: Bench, clock: FixedClock
) -> None:
    bench.settle(
        [bench.record(created(clock, f"k{n}", "broken" if n == 3 else "t")) for n in range(6)]
    )
    assert count(bench, told) == 6
    assert count(bench, seen) == 3, "it remembers nothing more"
    assert bench.set_aside() == []
    assert SEEN not in bench.read(partial(live_projections, service=SERVICE))


def test_unreadable_records_are_dead_at_once_and_the_partition_goes_on(
    bench: Bench, clock: FixedClock
) -> None:
    good = bench.record(created(clock, "a"))
    headers = dict(good.headers)

    def with_headers(**changed: bytes | None) -> list[tuple[str, bytes]]:
        merged = headers | changed
        return [(k, v) for k, v in merged.items() if v is not None]

    bad = [
        good._replace(headers=with_headers(ce_id=b"x1", ce_type=b"activities.activity.created.v9")),
        good._replace(headers=with_headers(ce_id=b"x2", ce_type=b"nobody.knows.this.v1")),
        good._replace(headers=with_headers(ce_id=b"x3"), value=b"{"),
        good._replace(headers=with_headers(ce_id=b"x4"), key=b"other"),
        good._replace(headers=with_headers(ce_id=None)),
        good._replace(headers=with_headers(ce_id=b"x6", ce_time=None)),
        good._replace(headers=with_headers(ce_id=b"x7", ce_subject=b"\xff")),
        good._replace(headers=with_headers(ce_id=b"x8"), value=None),
    ]
    bench.settle([*bad, good])
    bench.settle([*bad, good])
    assert count(bench, told) == 1
    dead = bench.set_aside("dead")
    reasons = {a.event_id: a.reason.split(":")[0] for a in dead}
    assert reasons["x1"] == "version.newer"
    assert reasons["x2"] == "type.unknown"
    assert reasons["x3"] == "body.invalid"
    assert reasons["x4"] == "key.wrong"
    assert reasons["x6"] == "header.missing"
    assert reasons["x8"] == "body.invalid"
    nameless = sorted(r for e, r in reasons.items() if "/" in e)
    assert nameless == ["header.missing"] * 2 + ["header.undecodable"] * 2
    assert len(dead) == 2 * 2 + 6, "records without an id are known by where they lie"


def test_what_was_set_aside_of_somebody_goes_when_they_are_erased(bench: Bench) -> None:
    def unreadable(person: str) -> None:
        described = bench.record(
            PersonDescribed(
                person_id=person,
                household_id="h",
                centre_id="c",
                revision=1,
                given_name="Amina",
                family_name="Prova",
                described_at=bench.clock.now(),
            )
        )
        bench.settle([described._replace(value=b'{"given_name": "Amina"}')])

    unreadable("person-1")
    unreadable("person-2")
    assert len(bench.set_aside("dead")) == 2
    bench.deliver(PersonErased(person_id="person-1"))
    assert [row.key for row in bench.set_aside()] == ["person-2"]


def test_every_order_across_keys_gives_the_same_model(bench: Bench, clock: FixedClock) -> None:
    made = [
        (k, n, bench.record(created(clock, k, str(n)))) for n in range(2) for k in ("a", "b", "c")
    ]
    for order in list(orders(made, key=lambda r: r[0]))[::20]:
        bench.settle([r for _, _, r in order])
    assert count(bench, told) == 6
    bench.rebuild_equals()


def test_a_higher_era_reads_from_the_beginning(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(created(clock, "a"))
    seeks = bench.settler.settle_all(
        bench._write,
        [_decoded(bench, created(clock, "a", "2"), era=1)],
    )
    assert list(seeks.values()) == [-1]
    assert count(bench, told) == 1


def test_an_ignored_type_is_settled_too(bench: Bench, clock: FixedClock) -> None:
    bench.deliver(
        SessionCancelled(
            session_id="s",
            centre_id="c",
            title="t",
            starts_at=clock.now(),
            cancelled_at=clock.now(),
        )
    )
    assert count(bench, inbox) == 1


def _decoded(bench: Bench, event: ActivityCreated, era: int) -> Item:
    return decode(bench.append(bench.record(event, era=era)))
