"""A turn of the relay: what is sent, and who waits for what."""

from __future__ import annotations

import pytest

from messaging import marks, relay
from runtime.testing import eventually_async

from .teller_and_hearer import FACTS, TELLER
from .world import World


def test_what_is_said_while_others_are_marked_is_sent_before_they_are(world: World) -> None:
    world.say(["a"])

    async def beside() -> None:
        world.say(["b"])
        sends = world.relays[TELLER.name]
        assert sends is not None
        sends._woken.set()
        later = world.said["b"][-1]
        await eventually_async(lambda: later in world.log.ids(FACTS), why="it waits for the marks")
        assert world.teller.read_now(marks.count_unsent) == 2

    world.fuse.let(beside)
    sends = world.relays[TELLER.name]
    assert sends is not None
    assert world._run(sends.turn()) == 2
    assert world.teller.read_now(marks.count_unsent) == 0


def test_in_traffic_that_never_pauses_a_turn_ends_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody would look at the log, or try again what was refused."""
    monkeypatch.setattr(relay, "LONGEST_TURN", 0.0)
    world.say(["a"])
    assert world.said_beside(0, ["b"])
    assert world.teller.read_now(marks.count_unsent) == 1
    assert world.relay(TELLER.name)
    assert world.teller.read_now(marks.count_unsent) == 0


@pytest.mark.parametrize("crash", [None, *range(12)])
def test_whoever_crashes_between_two_loses_neither(world: World, crash: int | None) -> None:
    world.say(["a", "b"])
    world.said_beside(0, ["a", "c"], crash)
    world.come_to_rest()
    world.check()
