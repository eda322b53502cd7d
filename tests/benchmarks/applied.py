"""(b) Events applied per second by one consumer.

Every event is a sale of a card's holder: cards books a transfer with two entries, moves a bucket,
remembers the sale, schedules the expiry, writes the timeline, and tells `cards.points.credited` by
its outbox. The same log of sales, on a fresh store each time, is applied by

* **ours**: `messaging.consumer.Subscription`, as the service runs it;
* **without a bus**: the same records, in memory, decoded and settled in batches of the same size;
* **per event**: plain FastStream with `NACK_ON_ERROR`, a pydantic model for its body, one hop to a
  writer thread, and there hand-written SQL on the bare driver, one transaction for each event;
* **bare SQL**: the rows that ours wrote, made before, written back set by set with the bare driver
  in transactions of 500 events, with the look-ups but without any thought.

On SQLite ours and the per-event handler once more on a disk that takes 5 ms more for each fsync, as
that of an old PC does, each in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import bare, facts, plain
from benchmarks.figures import Figure, left_out, ratio
from benchmarks.place import Place, as_if_begun
from benchmarks.slow_disk import NoSlowDisk
from cards.app import SERVICE
from messaging.attempt import Outcome
from messaging.bus import Bus
from messaging.consumer import MAX_RECORDS, Subscription
from messaging.envelope import Record, decode
from messaging.settle import MOST, Settler
from messaging.turn import Turn
from runtime import logging
from runtime.clock import SystemClock
from runtime.ids import SystemIds
from runtime.store import Store
from web.serve import SWITCH

TOPIC = "shop.events"
EVENTS = 20_000
HOUSEHOLDS = 2_000
PER_EVENT_SHARE = 8
"""The per-event handler is slow: it gets an eighth of the events."""
SLOW_SHARE = 4
"""On a slow disk a quarter of those."""
WITHIN = 120.0


async def run(place: Place) -> list[Figure]:
    """The ratios, engine by engine."""
    count = place.size(EVENTS, least=2_000)
    await facts.send(
        place.bus("shop"),
        TOPIC,
        facts.messages(facts.sales(count, HOUSEHOLDS), "shop"),
    )
    records = await facts.all_records(place.bus("cards"), TOPIC)
    for engine in place.engines:
        await _engine(place, engine, records)
    place.figures.append(await _slow_disk(place, len(records)))
    return place.figures


async def _engine(place: Place, engine: str, records: Sequence[Record]) -> None:
    template = place.new_store(SERVICE, engine)
    facts.into(template, lambda store: facts.fill_cards(store, HOUSEHOLDS))
    bus, count = place.bus("cards"), len(records)
    few = max(200, count // PER_EVENT_SHARE)

    done = place.copy(template)
    await ours(done, bus, count)
    rows = bare.rows_of(done)

    async def on_a_copy(work: Callable[[str], Any]) -> float:
        url = place.copy(template)
        with as_if_begun():
            rate = await work(url)
        place.drop(url)
        return float(rate)

    def our_turn() -> Any:
        return on_a_copy(lambda url: ours(url, bus, count))

    many = {"sqlite": 20.0, "postgresql": 10.0}[engine]
    lines: list[tuple[str, float, Callable[[str], Any]]] = [
        ("of the same work without a bus", 0.6, lambda url: without_a_bus(url, records)),
        ("of the kindest per-event handler", many, lambda url: plain.applied(url, bus, few)),
        ("of bare SQL", 0.5, lambda url: asyncio.to_thread(bare.applied, url, rows)),
    ]
    for name, least, baseline in lines:
        pairs = [(await on_a_copy(baseline), await our_turn()) for _ in range(place.rounds)]
        place.figures.append(ratio(f"{engine}: {name}", pairs, least))
    place.drop(done)
    place.drop(template)


async def _slow_disk(place: Place, count: int) -> Figure:
    name = "sqlite, 5 ms more for each fsync: of the kindest per-event handler"
    try:
        slow = await place.slow_disk()
    except NoSlowDisk as reason:
        return left_out(name, reason)
    template = place.new_store(SERVICE, "sqlite")
    facts.into(template, lambda store: facts.fill_cards(store, HOUSEHOLDS))
    few = max(100, count // PER_EVENT_SHARE // SLOW_SHARE)

    async def rate(who: str, events: int) -> float:
        url = place.copy(template)
        found = await _elsewhere(who, url, place.bus("cards"), events, slow)
        place.drop(url)
        return found

    pairs = [(await rate("per_event", few), await rate("ours", count)) for _ in range(place.rounds)]
    return ratio(name, pairs, None)


async def _elsewhere(who: str, url: str, bus: Bus, count: int, more: Mapping[str, str]) -> float:
    """Events per second of one of ``WHO`` in a process with `more` in its environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.applied", who, url, str(count), bus.address, bus.user),
        env={**os.environ, **more, "BENCH_PASSWORD": bus.password},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{who} did not apply {count} events")
    return float(said)


async def ours(url: str, bus: Bus, count: int) -> float:
    """Events per second from the first settled batch to the last event."""
    store = Store(url)
    clock = SystemClock()
    settled: list[tuple[float, int]] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def told(outcome: Outcome) -> None:
        if outcome.settled:
            before = settled[-1][1] if settled else 0
            settled.append((time.perf_counter(), before + len(outcome.settled)))
            if settled[-1][1] >= count:
                loop.call_soon_threadsafe(done.set)

    subscription = Subscription(
        Settler(SERVICE, clock=clock, ids=SystemIds(clock)),
        store,
        bus,
        topics=[TOPIC],
        group=f"cards.bench.{time.monotonic_ns()}",
        turn=Turn(),
        told=told,
    )
    running = asyncio.create_task(subscription.run())
    try:
        async with asyncio.timeout(WITHIN):
            await done.wait()
    finally:
        running.cancel()
        await asyncio.wait({running})
        await store.close()
    return _rate(settled)


def _rate(settled: Sequence[tuple[float, int]]) -> float:
    """The first batch only starts the watch: joining the group is not applying."""
    (begun, first), (ended, last) = settled[0], settled[-1]
    return (last - first) / (ended - begun)


async def without_a_bus(url: str, records: Sequence[Record]) -> float:
    """Decoding and settling alone, as fast as it goes."""
    return await asyncio.to_thread(_without_a_bus, url, records)


def _without_a_bus(url: str, records: Sequence[Record]) -> float:
    store = Store(url)
    clock = SystemClock()
    settler = Settler(SERVICE, clock=clock, ids=SystemIds(clock))
    for first in {r.partition: r for r in reversed(records)}.values():
        settler.settle_all(store.write_now, [decode(first)])  # the seek after an assignment
    begun = time.perf_counter()
    for start in range(0, len(records), MAX_RECORDS):
        items = [decode(record) for record in records[start : start + MAX_RECORDS]]
        settler.settle_all(store.write_now, items, most=MOST[store.dialect])
    rate = len(records) / (time.perf_counter() - begun)
    store.close_now()
    return rate


WHO = {"ours": ours, "per_event": plain.applied}


async def _alone(who: str, url: str, count: str, address: str, user: str) -> None:
    with as_if_begun():
        rate = await WHO[who](url, Bus(address, user, os.environ["BENCH_PASSWORD"]), int(count))
    sys.stdout.write(f"{rate}\n")


if __name__ == "__main__":
    logging.configure("benchmarks", level="CRITICAL", stream=sys.stderr)
    sys.setswitchinterval(SWITCH)
    asyncio.run(_alone(*sys.argv[1:]))
