"""An old and a new version of a service side by side on one topic, and the old one upgraded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from contracts import event
from contracts.activities import ActivityCreated
from contracts.event import Event, Id
from messaging import Policies, Received, Service
from messaging.engine import _perhaps_readable
from messaging.envelope import decode
from messaging.tables import metadata_with_messaging
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SequenceIds

METADATA = metadata_with_messaging()
done = sa.Table("done", METADATA, sa.Column("event_id", sa.String, primary_key=True))


@pytest.fixture
def second() -> Iterator[type[Event]]:
    """The second version of a type that is there; known to nobody afterwards."""
    kind = {"type": ActivityCreated.TYPE, "topic": ActivityCreated.TOPIC, "key": "activity_id"}

    class Second(Event, **kind, version=2):
        activity_id: Id
        languages: list[str]

    yield Second
    event._EVENTS.pop(Second.ce_type(), None)


def service(*models: type[Event]) -> Service:
    """A version of the service: what it reacts to."""
    policies = Policies()

    def note(tx: Transaction, received: Received[Event]) -> None:
        tx.collect(done, {"event_id": received.id})

    for model in models:
        policies.on(model)(note)
    return Service(
        name="network",
        prefix="/network",
        package="network",
        metadata=METADATA,
        topics=("network.events",),
        policies=policies,
    )


def noted(bench: Bench) -> set[str]:
    return set(bench.read(lambda c: c.scalars(sa.select(done.c.event_id)).all()))


def test_old_and_new_hear_the_same_topic_and_the_old_one_catches_up_after_its_upgrade(
    store_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    clock: FixedClock,
    ids: SequenceIds,
    second: type[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = f"sqlite:///{tmp_path_factory.mktemp('new') / 'new.db'}"
    first = ActivityCreated(activity_id="a", centre_id="c", title="x", created_at=clock.now())
    more = second.model_validate({"activity_id": "a", "languages": ["ar", "fr"]})
    with Bench(service(ActivityCreated, second), other, clock=clock, ids=ids) as new:
        records = [new.record(one) for one in (first, more, first)]
        told = [decode(record).id for record in records]
        new.settle(records)
        assert noted(new) == set(told)

    with (
        monkeypatch.context() as older,
        Bench(service(ActivityCreated), store_url, clock=clock, ids=ids) as old,
    ):
        older.delitem(event._EVENTS, second.ce_type())
        old.settle(records)
        assert noted(old) == {told[0], told[2]}, "what it knows goes on beside what it does not"
        (unknown,) = old.set_aside("dead")
        assert (unknown.event_id, unknown.reason.partition(":")[0]) == (told[1], "version.newer")

    with Bench(service(ActivityCreated, second), store_url, clock=clock, ids=ids) as upgraded:
        for event_id in upgraded.read(_perhaps_readable):
            assert upgraded.settler.retry(upgraded._write, event_id) == ""
        assert noted(upgraded) == set(told), "as if it had known it from the first"
        upgraded.settle(records)
        assert noted(upgraded) == set(told)
        assert upgraded.set_aside("dead") == []


def test_an_old_version_reads_what_a_new_one_has_only_added_to(
    store_url: str, clock: FixedClock, ids: SequenceIds
) -> None:
    first = ActivityCreated(activity_id="a", centre_id="c", title="x", created_at=clock.now())
    with Bench(service(ActivityCreated), store_url, clock=clock, ids=ids) as old:
        record = old.record(first)
        assert record.value is not None
        added = record.value.replace(b"{", b'{"languages":["ar"],', 1)
        old.settle([record._replace(value=added)])
        assert len(noted(old)) == 1
