"""The whole log against the outbox: what is missing on either side comes back (`comparison`)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from messaging import comparison, marks
from messaging.tables import outbox

from .teller_and_hearer import FACTS, TELLER
from .world import World


def _rows(world: World) -> set[str]:
    return set(world.teller.read_now(lambda c: c.scalars(sa.select(outbox.c.id)).all()))


def _forget(world: World, event_id: str) -> None:
    """A row of the outbox is gone, by a fault of the disk."""
    world.teller.write_now(lambda c: c.execute(sa.delete(outbox).where(outbox.c.id == event_id)))


def test_what_is_missing_in_the_middle_of_the_log_is_sent_again(world: World) -> None:
    longest = max(range(2), key=lambda n: len(world.log.topics[FACTS][n]))
    del world.log.topics[FACTS][longest][1].headers[:]
    assert world.log.ids(FACTS) < _rows(world)

    assert world.compare(TELLER.name)
    assert world.relay(TELLER.name)

    assert world.log.ids(FACTS) == _rows(world)


def test_a_copy_elsewhere_does_not_stand_for_what_is_missing(world: World) -> None:
    """As of a mirror that was set up wrongly: of another partition its reader sees it out of its
    order, and it is not where it counts as sent."""
    longest = max(range(2), key=lambda n: len(world.log.topics[FACTS][n]))
    copied = world.log.topics[FACTS][longest][1]
    world.log.append(FACTS, 1 - longest, copied.key or b"", copied.value, copied.headers)
    world.log.lose(FACTS, longest, 1)

    assert world.compare(TELLER.name)
    assert world.relay(TELLER.name)

    assert world.log.ids(FACTS) == _rows(world)
    assert _lie_where_they_should(world)


def _lie_where_they_should(world: World) -> bool:
    """Every row that counts as sent lies where it was acknowledged."""
    sent = world.teller.read_now(lambda c: marks.sent_as(c, sorted(_rows(world))))
    lying = {
        (record.partition, record.offset): dict(record.headers).get("ce_id", b"").decode()
        for number in range(2)
        for record in world.log.there(FACTS, number, 0, len(world.log.topics[FACTS][number]))
    }
    return all(lying.get((number, at)) == one for one, (_, number, at) in sent.items())


def test_what_is_missing_in_the_outbox_is_adopted(world: World) -> None:
    first = world.said["a"][0]
    _forget(world, first)

    assert world.compare(TELLER.name)

    assert first in _rows(world)


def test_first_records_that_are_gone_are_seen_in_every_log_that_comes(world: World) -> None:
    """Also where the log before it had lost more of them."""
    longest = max(range(2), key=lambda n: len(world.log.topics[FACTS][n]))
    first = len(world.log.topics[FACTS][longest]) - 1
    for gone in (first, 2):  # its first record is the mark of its era
        world.behead(FACTS, longest, gone)
        world.come_to_rest()
        assert _rows(world) <= world.log.ids(FACTS)
        world.remake(FACTS, 2)
        world.come_to_rest()


def _lacks_some(world: World) -> bool:
    relay = world.relays[TELLER.name]
    assert relay is not None
    return relay.log_lacks_some


def test_records_that_are_gone_from_the_middle_are_seen_at_a_look(world: World) -> None:
    """As by somebody who lets an event topic keep the last record of each key alone."""
    assert world.reconcile(TELLER.name)
    assert not _lacks_some(world)
    longest = max(range(2), key=lambda n: len(world.log.topics[FACTS][n]))
    for lost in range(1, len(world.log.topics[FACTS][longest]) - 1):
        world.log.lose(FACTS, longest, lost)
    assert world.log.ids(FACTS) < _rows(world)

    for _ in range(2):  # a partition at each look
        assert world.reconcile(TELLER.name)
    assert _lacks_some(world)
    world.come_to_rest()

    assert world.log.ids(FACTS) == _rows(world)
    assert world.reconcile(TELLER.name)
    assert not _lacks_some(world)  # the gaps stay, and are no news
    first = len(world.log.topics[FACTS][longest])
    world.say(["a", "b", "c"] * 3)
    assert world.relay(TELLER.name)
    world.log.lose(FACTS, longest, first)
    for _ in range(5):
        world.reconcile(TELLER.name)
    assert _lacks_some(world)


def test_a_damaged_record_is_seen_at_a_look_and_until_all_can_be_read_again(world: World) -> None:
    world.log.damaged = {(FACTS, 0), (FACTS, 1)}
    assert world.reconcile(TELLER.name)
    assert _lacks_some(world)
    assert not world.compare(TELLER.name)
    assert _lacks_some(world)

    world.log.damaged.clear()
    assert world.compare(TELLER.name)
    assert _lacks_some(world)  # for whoever tends Kafka
    assert world.reconcile(TELLER.name)
    assert not _lacks_some(world)


def _marked_without_being_there(world: World, at: int) -> bool:
    """A fact that only the log has; while that is compared it is wiped, and the relay sees it."""
    world.say(["a"])
    world.relay(TELLER.name)
    _forget(world, world.said["a"][-1])
    world.seen_beside(TELLER.name, at, keep=0)
    world.come_to_rest()
    return not _rows(world) <= world.log.ids(FACTS)


POINTS = range(10)


def test_what_was_read_of_a_log_that_is_gone_is_not_adopted_as_sent(world: World) -> None:
    """Nobody would ever send it: the relay took its marks back before the row was there."""
    assert not any(_marked_without_being_there(world, at) for at in POINTS)


def test_without_looking_at_the_era_it_would_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_eras", lambda _: {})
    assert any(_marked_without_being_there(world, at) for at in POINTS)
