"""(g) One, two and three replicas of a service on PostgreSQL.

Replicas of `cards` share a store and the three partitions of a topic. They are up and idle when the
sales come; events per second count from the first that was applied to the last. Then every effect
is counted and every household's chain of events is walked: exactly once, and in order. Replicas,
broker and database share this machine's cores, so the figure says what coordination costs, not how
it scales on more machines.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import httpx
import psycopg

from benchmarks import facts, visible
from benchmarks.figures import Figure, at_most
from benchmarks.place import NoPostgresql, Place
from benchmarks.served import Served, served
from cards.app import SERVICE
from messaging.bus import Bus
from runtime.store import Store

EVENTS = 15_000
REPLICAS = (1, 2, 3)

_ORDER = """
SELECT count(*) FROM (
  SELECT (convert_from(body, 'UTF8')::json ->> 'available')::bigint
         - lag((convert_from(body, 'UTF8')::json ->> 'available')::bigint, 1, 0::bigint)
           OVER (PARTITION BY key ORDER BY "row") AS step,
         previous IS NOT DISTINCT FROM lag(id) OVER (PARTITION BY key ORDER BY "row") AS chained
  FROM outbox WHERE topic = 'cards.events') AS walked
WHERE step <> 3 OR NOT chained
"""
"""Every event of a household says three points more than the one before, and names it."""


async def run(place: Place) -> list[Figure]:
    """Throughput and lag by number of replicas; raises when anything was lost, twice or out of
    order."""
    try:
        place.server()
    except NoPostgresql as error:
        return [Figure(str(error), float("nan"), "")]
    count = place.size(EVENTS, least=1_000)
    for number in REPLICAS:
        place.figures.append(await _replicas(place, number, count))
    return place.figures


async def _replicas(place: Place, number: int, count: int) -> Figure:
    kafka = place.new_kafka(f"kafka-{number}")
    url = place.new_store(SERVICE, "postgresql")
    facts.into(url, lambda store: facts.fill_cards(store, visible.HOUSEHOLDS))
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(served("cards", url, kafka)) for _ in range(number)]
        await _connected(all_of_them)
        made = facts.messages(facts.sales(count, visible.HOUSEHOLDS), "shop")
        await facts.send(Bus(kafka.bootstrap, "shop", kafka.secret("shop")), "shop.events", made)
        sent = time.monotonic()
        samples: list[tuple[float, int]] = []
        lag = 0
        while not samples or samples[-1][1] < count:
            done = await asyncio.to_thread(facts.settled, url)
            samples.append((time.monotonic(), done))
            lag = max(lag, count - done)
            if time.monotonic() - sent > 120:
                raise RuntimeError(f"only {done} of {count} events were applied")
            await asyncio.sleep(0.1)
        shares = [round(one.cpu_s, 1) for one in all_of_them]
    kafka.kill()
    _check(url, count)
    place.drop(url)
    moving = [sample for sample in samples if sample[1]]
    (begun, first), (ended, last) = moving[0], moving[-1]
    rate = (last - first) / max(ended - begun, 0.001)
    return at_most(
        f"{number} replica{'s' if number > 1 else ''}",
        rate,
        "events/s",
        None,
        longest_lag_after_the_last_was_sent=lag,
        caught_up_after_s=round(ended - sent, 1),
        processor_s_of_each=shares,
        checked="once each, in order by household, the ledger balances",
    )


async def _connected(replicas: list[Served]) -> None:
    until = time.monotonic() + 60
    async with httpx.AsyncClient(timeout=10) as client:
        while time.monotonic() < until:
            pages = [
                (await client.get(f"http://127.0.0.1:{one.port}/metrics")).text for one in replicas
            ]
            if all("vicinato_bus_connected 1.0" in page for page in pages):
                return
            await asyncio.sleep(0.2)
    raise RuntimeError("the replicas are not on the bus")


def _check(url: str, count: int) -> None:
    with psycopg.connect(url) as server:
        told = {
            "transfers": "SELECT count(*) FROM transfer WHERE kind = 'sale'",
            "sales": "SELECT count(*) FROM sale",
            "settled ids": "SELECT count(*) FROM inbox WHERE source = 'shop.events'",
            "events told": "SELECT count(*) FROM outbox WHERE topic = 'cards.events'",
            "points": "SELECT sum(points) / 3 FROM entry WHERE account = 'household'",
        }
        for what, query in told.items():
            found = server.execute(query).fetchone()
            if found is None or found[0] != count:
                raise RuntimeError(f"{what}: {found} instead of {count}")
        wrong = server.execute(_ORDER).fetchone()
        if wrong is None or wrong[0]:
            raise RuntimeError(f"{wrong} events of a household are out of order")
    store = Store(url)
    try:
        for check in (c for c in SERVICE.checks if c.name in ("ledger", "holds")):
            if differences := store.read_now(check.run):
                raise RuntimeError(f"{check.name}: {differences[0]}")
    finally:
        store.close_now()
