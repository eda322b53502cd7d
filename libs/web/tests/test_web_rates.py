"""The pace of who is signed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.clock import FixedClock
from web import Role
from web.rates import AT_ONCE, REMEMBERED, Pace, TooFast
from web.testing import Client, token


class Watch:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_twenty_seconds_worth_at_once_and_then_the_pace() -> None:
    watch = Watch()
    pace = Pace(2, watch)
    for _ in range(int(2 * AT_ONCE)):
        pace.take("a")
    with pytest.raises(TooFast) as refused:
        pace.take("a")
    assert refused.value.after == 1
    pace.take("b")
    watch.now += 0.5
    pace.take("a")
    with pytest.raises(TooFast):
        pace.take("a")


def test_who_rests_gets_no_more_than_was_taken() -> None:
    watch = Watch()
    pace = Pace(1, watch)
    watch.now += 3600
    for _ in range(int(AT_ONCE)):
        pace.take("a")
    with pytest.raises(TooFast):
        pace.take("a")


def test_zero_is_no_limit() -> None:
    pace = Pace(0, Watch())
    for _ in range(10_000):
        pace.take("a")


def test_the_quietest_is_forgotten_first() -> None:
    pace = Pace(1 / AT_ONCE, Watch())
    pace.take("first")
    with pytest.raises(TooFast):
        pace.take("first")
    for number in range(REMEMBERED):
        pace.take(str(number))
    pace.take("first")


async def test_who_asks_too_fast_is_told_how_long_to_wait(
    tmp_path: Path, clock: FixedClock
) -> None:
    from web_sample.app import SERVICE

    url, settings = f"sqlite:///{tmp_path / 'sample.db'}", {"requests_per_second": 1}
    async with Client(SERVICE, url, clock=clock, settings=settings) as client:
        client.sign_in(token(Role.TILL, centre="c1"))
        statuses = [(await client.get("/sample/api/who")).status_code for _ in range(100)]
        refused = await client.get("/sample/api/who")
        assert statuses[0] == 200
        assert statuses[-1] == refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["reason"] == "rate.too_fast"
        page = await client.get("/sample/things")
        assert page.status_code == 429
        assert "Nothing of this one was done" in page.text
        client.sign_in(token(Role.TILL, centre="c1", account="another"))
        assert (await client.get("/sample/api/who")).status_code == 200
