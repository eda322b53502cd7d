"""(f) A read model built anew from the log.

`cards` has applied a log of sales, half of the events, and its own events about them, the other
half; then its read models are rebuilt over the API, all from one reading of the log, while the
service runs on, and somebody asks for a household's timeline ten times a second: the old model
answers until the new one is swapped in. The time is given for a million events: what the target
names, whatever the length of the log in this run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time

from benchmarks import facts, visible
from benchmarks.figures import Figure, at_most, percentile
from benchmarks.place import Place
from benchmarks.served import Line, Served, served
from cards.app import SERVICE
from messaging.bus import Bus
from web.roles import Role
from web.testing import published_key, token

EVENTS = 100_000
MILLION = 1_000_000
WITHIN = 90.0
ASKED_EVERY = 0.1
"""Seconds between two looks at a timeline: a desk at its busiest, not a load that is measured."""
LOOKED_EVERY = 0.25
"""Seconds between two looks at how far it is: twenty of them a second took a tenth of the time."""


async def run(place: Place) -> list[Figure]:
    """Every read model of cards, engine by engine."""
    count = place.size(EVENTS, least=2_000)
    sold = list(facts.sales(count // 2, visible.HOUSEHOLDS))
    made = facts.messages(sold, "shop")
    homes = sorted({sale.household_id for sale in sold})
    for engine in place.engines:
        place.figures += await _engine(place, engine, made, count, homes)
    return place.figures


async def _engine(
    place: Place, engine: str, made: list[facts.Message], count: int, homes: list[str]
) -> list[Figure]:
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
        asking = asyncio.create_task(_ask(cards, homes))
        seconds = await _rebuild(cards)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        answers = ANSWERS.pop(cards.port, [])
    kafka.kill()
    place.drop(url)
    total = max(seconds.values())
    return [
        at_most(
            f"{engine}: all read models of cards, for a million events",
            total * MILLION / count,
            "s",
            WITHIN,
            events=count,
            answering_after_s={name: round(s, 2) for name, s in seconds.items()},
            events_per_s=round(count / total),
        ),
        at_most(
            f"{engine}: the old model answering meanwhile, p99",
            percentile(answers, 0.99) * 1000,
            "ms",
            None,
            answers=len(answers),
        ),
    ]


ANSWERS: dict[int, list[float]] = {}


async def _ask(cards: Served, homes: list[str]) -> None:
    """Somebody looks at timelines that are not empty; an answer that is not good ends the run."""
    line = Line(cards.port, token(Role.COORDINATOR, centre=facts.CENTRE))
    times = ANSWERS.setdefault(cards.port, [])
    dice = random.Random(3)
    while True:
        path = f"/cards/api/households/{dice.choice(homes)}"
        begun = time.perf_counter()
        status, answer = await line.ask("GET", f"{path}/timeline")
        times.append(time.perf_counter() - begun)
        if status != 200 or not json.loads(answer)["items"]:
            raise RuntimeError(f"the timeline did not answer: {status} {answer[:100]!r}")
        await asyncio.sleep(ASKED_EVERY)


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
