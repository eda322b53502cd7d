"""(f) A read model built anew from the log.

`cards` has applied a log of sales, half of the events, and its own events about them, the other
half; then its read models are rebuilt over the API, all from one reading of the log, while the
service runs on. Ten times a second somebody asks for a household's timeline, which the old model
answers until the new one is swapped in, and ten times a second somebody gives a point by hand; both
count from the moment they were due. The target names a million events, which `SCALE=10` takes: of a
shorter log the time has no verdict, and what it makes of a million is multiplied.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from benchmarks import facts, visible
from benchmarks.figures import Figure, at_most, percentile
from benchmarks.place import Place
from benchmarks.served import Line, Served, served
from benchmarks.till import milliseconds
from cards.app import SERVICE
from messaging.bus import Bus
from web.roles import Role
from web.testing import published_key, token

EVENTS = 100_000
MILLION = 1_000_000
WITHIN = 90.0
WRITTEN_WITHIN = 100.0
"""Milliseconds, of a log of `EVENTS` or more."""
ASKED_EVERY = 0.1
"""Seconds between two looks, or two points: a desk at its busiest, not a load that is measured."""
LOOKED_EVERY = 0.25
"""Seconds between two looks at how far it is: twenty of them a second took a tenth of the time."""


async def run(place: Place) -> list[Figure]:
    """Every read model of cards, engine by engine."""
    count = place.size(EVENTS, least=2_000)
    made = facts.messages(facts.sales(count // 2, visible.HOUSEHOLDS), "shop")
    for engine in place.engines:
        place.figures += await _engine(place, engine, made, count)
    return place.figures


async def _engine(place: Place, engine: str, made: list[facts.Message], count: int) -> list[Figure]:
    url = place.new_store(SERVICE, engine)
    facts.into(url, lambda store: facts.fill_cards(store, visible.HOUSEHOLDS))
    # Of its own: a relay takes in what it finds in its topics and does not know.
    kafka = place.new_kafka(f"kafka-{engine}")
    await facts.send(Bus(kafka.bootstrap, "shop", kafka.secret("shop")), "shop.events", made)
    # The keys are a read model as well: after its rebuild it knows what the log knows.
    key = facts.messages([published_key()], "identity")
    identity = Bus(kafka.bootstrap, "identity", kafka.secret("identity"))
    await facts.send(identity, "identity.events", key)
    with served("cards", url, kafka) as cards:
        begun = time.monotonic()
        while facts.settled(url, own=True) < count:
            if time.monotonic() - begun > 120 + count / 200:
                raise RuntimeError("the log was not applied in time")
            await asyncio.sleep(0.5)
        # Of these everybody has bought: no timeline is empty.
        homes = sorted({json.loads(value or b"")["household_id"] for _, value, _ in made})
        looked: list[float] = []
        given: list[float] = []
        asking = asyncio.gather(_look(cards, homes, looked), _give(cards, homes, given))
        seconds = await _rebuild(cards)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
    kafka.kill()
    place.drop(url)
    total = max(seconds.values())
    details: dict[str, Any] = {
        "answering_after_s": {name: round(s, 2) for name, s in seconds.items()},
        "events_per_s": round(count / total),
    }
    if count < MILLION:
        details["multiplied_for_a_million_s"] = round(total * MILLION / count, 1)
    meanwhile = f"{engine}: meanwhile, of {count:,} events"
    return [
        at_most(
            f"{engine}: all read models of cards, of {count:,} events",
            total,
            "s",
            WITHIN if count >= MILLION else None,
            **details,
        ),
        at_most(
            f"{meanwhile}, a timeline, p99",
            percentile(looked, 0.99) * 1000,
            "ms",
            None,
            answered_ms=milliseconds(looked),
        ),
        at_most(
            f"{meanwhile}, a point given, p99",
            percentile(given, 0.99) * 1000,
            "ms",
            WRITTEN_WITHIN if count >= EVENTS else None,
            answered_ms=milliseconds(given),
        ),
    ]


async def _look(cards: Served, homes: list[str], times: list[float]) -> None:
    """Somebody looks at timelines that are not empty; an answer that is not good ends the run."""
    line = Line(cards.port, token(Role.COORDINATOR, centre=facts.CENTRE))
    dice = random.Random(3)
    async for due in _due():
        path = f"/cards/api/households/{dice.choice(homes)}/timeline"
        answer = await _asked(line, "GET", path, b"", 200)
        times.append(time.perf_counter() - due)
        if not json.loads(answer)["items"]:
            raise RuntimeError(f"the timeline is empty: {path}")


async def _give(cards: Served, homes: list[str], times: list[float]) -> None:
    """Somebody gives points by hand."""
    line = Line(cards.port, token(Role.COORDINATOR, centre=facts.CENTRE))
    dice = random.Random(5)
    body = json.dumps({"points": 1, "reason": "helped"}).encode()
    async for due in _due():
        path = f"/cards/api/households/{dice.choice(homes)}/points/adjustments"
        await _asked(line, "POST", path, body, 201)
        times.append(time.perf_counter() - due)


async def _due() -> AsyncIterator[float]:
    """Moment by moment, and at once where the last answer took longer: a slow one hides none."""
    due = time.perf_counter()
    while True:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        yield due
        due += ASKED_EVERY


async def _asked(line: Line, method: str, path: str, body: bytes, good: int) -> bytes:
    status, answer = await line.ask(method, path, body)
    if status != good:
        raise RuntimeError(f"{path} was answered with {status}: {answer[:100]!r}")
    return answer


async def _rebuild(cards: Served) -> dict[str, float]:
    """After how many seconds each of the service's own read models answered anew."""
    line = Line(cards.port, token(Role.ADMINISTRATOR))
    path = "/cards/api/projections"
    begun = time.monotonic()
    status, answer = await line.ask("POST", f"{path}/rebuild")
    if status != 202:
        raise RuntimeError(f"the rebuild did not begin: {status} {answer[:200]!r}")
    seconds: dict[str, float] = {}
    while True:
        status, answer = await line.ask("GET", path)
        if status != 200:
            raise RuntimeError(f"the read models did not answer: {status} {answer[:200]!r}")
        items = json.loads(answer)["items"]
        for one in items:
            if one["progress"] and one["progress"]["done"]:
                seconds.setdefault(one["name"], time.monotonic() - begun)
                if one["progress"]["failed"]:
                    raise RuntimeError(f"a rebuild failed: {one}")
        if len(seconds) == len(items):
            line.close()
            return seconds
        await asyncio.sleep(LOOKED_EVERY)
