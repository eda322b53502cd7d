"""Partitions that go and come back, and polls whose records a client dropped."""

from __future__ import annotations

from .teller_and_hearer import FACTS, TELLER
from .world import KEYS, World


def hear(world: World, times: int = 6) -> None:
    """The first replica reads on, and settles."""
    for _ in range(times):
        world.fetch(0, 50)
        world.give(0)


def test_a_partition_that_went_and_comes_back_is_read_from_its_beginning(world: World) -> None:
    """Its place is of the one that was, and the new one may be longer already."""
    world.say(list(KEYS))
    world.relay(TELLER.name)
    world.assign([0, 0, 0])
    hear(world)
    world.look(0)
    hear(world)
    world.remake(FACTS, 1)
    world.assign([0, 0, 0])
    for _ in range(3):
        world.reconcile(TELLER.name)
        world.relay(TELLER.name)
    hear(world)
    world.look(0)
    hear(world)
    world.add_partition(FACTS)
    for _ in range(5):
        world.say(list(KEYS))
    world.relay(TELLER.name)
    world.assign([0, 0, 0])
    hear(world)
    world.come_to_rest()
    world.check()


def test_what_a_client_dropped_is_asked_for_again(world: World) -> None:
    world.assign([0, 0, 0])
    hear(world)
    world.say(list(KEYS))
    world.relay(TELLER.name)
    world.fetch(0, 50)
    world.drop(0)
    world.say(list(KEYS))
    world.relay(TELLER.name)
    hear(world)
    assert world.unheard() == []


def test_a_log_whose_first_records_are_gone_is_read_on(world: World) -> None:
    world.assign([0, 0, 0])
    for partition in range(2):
        world.behead(FACTS, partition, 1)
    hear(world)
    assert len(world.unheard()) < 6
    world.come_to_rest()
    world.check()
