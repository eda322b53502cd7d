"""A turn of the relay: what is sent, and who waits for what."""

from __future__ import annotations

import pytest

from messaging import marks
from runtime.testing import eventually_async

from .teller_and_hearer import FACTS, TELLER
from .world import World


def test_what_is_said_while_others_are_marked_is_sent_before_they_are(world: World) -> None:
    world.say(["a"])

    async def beside() -> None:
        world.say(["b"])
        relay = world.relays[TELLER.name]
        assert relay is not None
        relay._woken.set()
        later = world.said["b"][-1]
        await eventually_async(lambda: later in world.log.ids(FACTS), why="it waits for the marks")
        assert world.teller.read_now(marks.count_unsent) == 2

    world.fuse.let(beside)
    relay = world.relays[TELLER.name]
    assert relay is not None
    assert world._run(relay.turn()) == 2
    assert world.teller.read_now(marks.count_unsent) == 0


@pytest.mark.parametrize("crash", [None, *range(12)])
def test_whoever_crashes_between_two_loses_neither(world: World, crash: int | None) -> None:
    world.say(["a", "b"])
    world.said_beside(0, ["a", "c"], crash)
    world.come_to_rest()
    world.check()
