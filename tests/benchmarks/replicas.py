"""(g) One, two and three replicas of a service on PostgreSQL.

Replicas of `cards` share a store and the three partitions of a topic. They are up and idle when the
facts come: sales, and of each two refunds of other amounts behind it. Events per second count from
the first that was applied to the last. Then facts come for some seconds at half that rate, and it
is looked fifty times a second how long the oldest that was not applied lies in the log. In the end
every fact must have been the cause of one effect and those of each sale in their order, every
household's points must follow from those before, the ledger must balance, and the topic of `cards`,
read to its end, must hold every event that was told once, behind the one of its key that it names.
Replicas, broker and database share this machine's cores, so the figures say what coordination
costs, not how it scales on more machines.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import psycopg

from benchmarks import facts, in_order, visible
from benchmarks.figures import Figure, at_most, percentile
from benchmarks.place import NoPostgresql, Place
from benchmarks.served import Served, served
from benchmarks.till import milliseconds
from cards.app import SERVICE
from messaging.bus import Bus
from messaging.envelope import Marker, decode
from runtime.store import Store

SALES = 20_000
FACTS_OF_A_SALE = 3
REPLICAS = (1, 2, 3)
STEADY_SHARE = 0.5
"""Of the events per second that were seen before."""
STEADY_SECONDS = 10.0
LOOKED_EVERY = 0.02
TOLD_WITHIN = 60.0


async def run(place: Place) -> list[Figure]:
    """Throughput and lag by number of replicas; raises when anything was lost, twice or out of
    order."""
    try:
        place.server()
    except NoPostgresql as error:
        return [Figure(str(error), float("nan"), "")]
    for number in REPLICAS:
        place.figures += await _replicas(place, number, place.size(SALES, least=2_000))
    return place.figures


async def _replicas(place: Place, number: int, sales: int) -> list[Figure]:
    kafka = place.new_kafka(f"kafka-{number}")
    url = place.new_store(SERVICE, "postgresql")
    facts.into(url, lambda store: facts.fill_cards(store, visible.HOUSEHOLDS))
    shop, cards = (Bus(kafka.bootstrap, one, kafka.secret(one)) for one in ("shop", "cards"))
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(served("cards", url, kafka)) for _ in range(number)]
        await _connected(all_of_them)
        many = _made(sales, seed=1)
        with Applied(url) as applied:
            await facts.send(shop, "shop.events", many)
            await applied.all(len(many))
        rate = applied.rate()
        shares = [round(one.cpu_s, 1) for one in all_of_them]
        steady = STEADY_SHARE * rate
        some = _made(round(steady * STEADY_SECONDS / FACTS_OF_A_SALE), seed=2)
        with Applied(url, before=len(many)) as applied:
            there = await _steadily(shop, some, steady)
            await applied.all(len(some))
        await _all_told(url)
    log = await facts.all_records(cards, "cards.events")
    kafka.kill()
    _check(url, [(key.decode(), dict(wire)["ce_id"].decode()) for key, _, wire in many + some])
    told = [item for item in map(decode, log) if not isinstance(item.content, Marker)]
    if (count := in_order.chain((i.key, i.id, i.previous) for i in told)) != len(many + some):
        raise RuntimeError(f"{count} events are in the log of {len(many + some)} that were told")
    place.drop(url)
    name = f"{number} replica{'s' if number > 1 else ''}"
    waited = list(applied.oldest_waited(there))
    return [
        at_most(
            name,
            rate,
            "events/s",
            None,
            events=len(many),
            processor_s_of_each=shares,
            checked="once each, in order by sale and by household, the ledger balances",
        ),
        at_most(
            f"{name} at {STEADY_SHARE:g} of that: how long the oldest waits, p99",
            percentile(waited, 0.99) * 1000,
            "ms",
            None,
            events=len(some),
            waits_ms=milliseconds(waited),
        ),
    ]


def _made(sales: int, *, seed: int) -> list[facts.Message]:
    return facts.messages(facts.sales_with_refunds(sales, visible.HOUSEHOLDS, seed), "shop")


@dataclass
class Applied:
    """Looks, on a connection of its own, how many facts were applied, `before` not counted."""

    url: str
    before: int = 0
    seen: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Applied:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as server:
            while not self._stop.wait(LOOKED_EVERY):
                done = facts.settled_on(server) - self.before
                self.seen.append((time.monotonic(), done))

    async def all(self, count: int) -> None:
        """Until so many were. Raises RuntimeError when it takes too long."""
        until = time.monotonic() + 60 + count / 200
        while not self.seen or self.seen[-1][1] < count:
            if time.monotonic() > until or not self._thread.is_alive():
                raise RuntimeError(f"{count} events were not applied in time")
            await asyncio.sleep(LOOKED_EVERY)

    def rate(self) -> float:
        """Events per second, from the first that were applied to the last."""
        begun, first = next(look for look in self.seen if look[1])
        ended, last = next(look for look in self.seen if look[1] == self.seen[-1][1])
        return (last - first) / max(ended - begun, LOOKED_EVERY)

    def oldest_waited(self, there: Sequence[float]) -> Iterator[float]:
        """Seconds that the oldest that was not applied had been there, look by look, while more
        came: the next after those that were counts as the oldest."""
        for at, done in self.seen:
            if there[0] <= at <= there[-1]:
                yield max(0.0, at - there[min(done, len(there) - 1)])


async def _steadily(bus: Bus, made: Sequence[facts.Message], rate: float) -> list[float]:
    """Send so many a second; the moments of their acknowledgements, one after the other."""
    there: list[float] = []
    waiting = []
    producer = bus.producer()
    await producer.start()
    try:
        begun = time.monotonic()
        for n, (key, value, headers) in enumerate(made):
            if (early := begun + n / rate - time.monotonic()) > 0:
                await asyncio.sleep(early)
            one = await producer.send("shop.events", value=value, key=key, headers=headers)
            one.add_done_callback(lambda _: there.append(time.monotonic()))
            waiting.append(one)
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
    return there


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


async def _all_told(url: str) -> None:
    """Until the relay has sent whatever the outbox holds."""
    until = time.monotonic() + TOLD_WITHIN
    with psycopg.connect(url, autocommit=True) as server:
        while server.execute("SELECT 1 FROM outbox_unsent LIMIT 1").fetchone():
            if time.monotonic() > until:
                raise RuntimeError("the relay does not come to the end of its outbox")
            await asyncio.sleep(0.1)


def _check(url: str, log: list[tuple[str, str]]) -> None:
    with psycopg.connect(url) as server:
        told = server.execute(
            "SELECT key, id, previous, cause, convert_from(body, 'UTF8'), type FROM outbox"
            " WHERE topic = 'cards.events' ORDER BY \"row\""
        ).fetchall()
    in_order.effects(log, (cause for _, _, _, cause, _, _ in told))
    in_order.chain((key, event, previous) for key, event, previous, _, _, _ in told)
    in_order.balances(
        (key, -body["points"] if "debited" in kind else body["points"], body["available"])
        for key, body, kind in ((key, json.loads(body), kind) for key, *_, body, kind in told)
    )
    store = Store(url)
    try:
        for check in (c for c in SERVICE.checks if c.name in ("ledger", "holds")):
            if differences := store.read_now(check.run):
                raise RuntimeError(f"{check.name}: {differences[0]}")
    finally:
        store.close_now()
