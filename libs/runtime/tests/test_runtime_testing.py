"""The probes that tests wait with."""

from __future__ import annotations

import pytest

from runtime.refusals import N_, NotFound, Refusal
from runtime.testing import eventually, eventually_async


def test_a_probe_is_asked_until_it_is_true() -> None:
    answers = iter([0, 0, 7])
    assert eventually(lambda: next(answers)) == 7


def test_a_probe_that_never_comes_true_says_what_was_awaited() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"the sale was credited did not come true.*0"):
        eventually(lambda: 0, within=0.02, why="the sale was credited")

    def asserts() -> bool:
        raise AssertionError("balance 3, not 5")

    with pytest.raises(pytest.fail.Exception, match="balance 3, not 5"):
        eventually(asserts, within=0.02)


async def test_an_asynchronous_probe_too() -> None:
    answers = iter([0, 7])

    async def probe() -> int:
        return next(answers)

    assert await eventually_async(probe) == 7
    assert await eventually_async(lambda: "plain") == "plain"
    with pytest.raises(pytest.fail.Exception, match="nothing"):
        await eventually_async(lambda: None, within=0.02, why="nothing")


def test_a_refusal_says_why_and_what_next() -> None:
    refusal = Refusal(
        "points.short", N_("Only {left} points are left"), N_("Take part in cash"), left=3
    )
    assert (refusal.reason, refusal.status, refusal.values) == ("points.short", 409, {"left": 3})
    assert str(refusal) == "points.short: Only 3 points are left"
    assert NotFound("card.unknown", N_("No card {number}")).status == 404
    assert str(NotFound("card.unknown", N_("No card {number}"))) == "card.unknown: No card {number}"
