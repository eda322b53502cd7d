"""(a) From a sale to its points: how long a till waits, and how long until the family sees them.

Broker, `shop` and `cards` run as processes of the house, with their relays and consumers; a till
sends sales of one piece in cash with a card, at a Poisson rate, each when it is due whatever became
of those before it (open loop: a slow answer makes no later sale wait, and none is left out). A sale
is visible when its transfer is in the ledger of cards, looked for every 2 ms by a reader of its
own. All times count from the moment the sale was due; the stages are noted by the processes. The
slowest of a hundred at 50 sales/s are ten in a run, so three runs are taken and their median
counts. Then a till sells while something large goes on: a catch-up and a rebuild of fewer than
100,000 events, which the target names, are told without a verdict.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

from benchmarks import facts, grown
from benchmarks.figures import Figure, at_most, left_out, percentile
from benchmarks.place import Place
from benchmarks.served import Served, served
from benchmarks.slow_disk import NoSlowDisk
from benchmarks.till import Sold, Watch, milliseconds, sell
from cards.app import SERVICE as CARDS
from messaging.bus import Bus
from solidarity_shop.app import SERVICE as SHOP
from vicinato.testing.brokers import TestKafka
from web.roles import Role
from web.testing import token

HOUSEHOLDS = 2_000
OFTEN, SELDOM = 50.0, 3.0
SECONDS = 20.0
SELDOM_SECONDS = 40.0
BUSY_RATE = 20.0
BUSY_SECONDS = 12.0
BEHIND = 100_000
"""Events of a catch-up and of a rebuild, as the target names them: fewer have no verdict."""
LEAST_BEHIND = 20_000
"""So that some sales fall into it."""
GROWN_SHARE = 0.1
"""Of 1,000,000 sales, for the store that is backed up."""
CAUGHT_UP_WITHIN = 120.0
LOOKED_EVERY = 0.25
"""Seconds between two looks whether something still goes on."""


@dataclass
class House:
    """The two services of a sale, running."""

    shop: Served
    cards: Served
    shop_url: str
    cards_url: str
    times: Path


async def run(place: Place) -> list[Figure]:
    """All lines of (a)."""
    figures = place.figures
    for engine in place.engines:
        # Of its own: a relay takes in what it finds in its topics and does not know.
        kafka = place.new_kafka(f"kafka-{engine}")
        async with house(place, engine, kafka) as running:
            often = [
                await _sold(running, OFTEN, place.scale * SECONDS, seed=turn)
                for turn in range(place.rounds)
            ]
            seldom = [await _sold(running, SELDOM, place.scale * SELDOM_SECONDS)]
        kafka.kill()
        limits = {"sqlite": (50, 30), "postgresql": (80, None)}[engine]
        for rate, sold in ((OFTEN, often), (SELDOM, seldom)):
            figures += lines(f"{engine}, {rate:g} sales/s", sold, running.times, *limits)
    for engine in place.engines:
        figures += await _while_busy(place, engine)
    figures += await _slow_disk(place)
    return figures


@asynccontextmanager
async def house(
    place: Place,
    engine: str,
    kafka: TestKafka,
    *,
    extra: dict[str, str] | None = None,
    stores: tuple[str, str] | None = None,
) -> AsyncIterator[House]:
    """Shop and cards on fresh stores (or on these), observed."""
    if stores is None:
        stores = place.new_store(SHOP, engine), place.new_store(CARDS, engine)
        facts.into(stores[0], lambda store: facts.fill_shop(store, HOUSEHOLDS))
        facts.into(stores[1], lambda store: facts.fill_cards(store, HOUSEHOLDS))
    times = Path(tempfile.mkdtemp(dir=place.folder))
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                served(
                    name,
                    url,
                    kafka,
                    command=("-m", "benchmarks.observed", name),
                    extra={
                        "PYTHONPATH": str(Path(__file__).parents[1]),
                        "BENCH_TIMES": str(times / f"{name}.json"),
                        **(extra or {}),
                    },
                )
            )
            for name, url in zip(("shop", "cards"), stores, strict=True)
        ]
        yield House(both[0], both[1], *stores, times)


async def _sold(running: House, rate: float, seconds: float, *, seed: int = 7) -> Sold:
    port = running.shop.port
    with Watch(running.cards_url) as watch:
        return await sell(port, rate, seconds, households=HOUSEHOLDS, watch=watch, seed=seed)


def lines(
    name: str, runs: Sequence[Sold], times: Path, visible: float | None, answered: float | None
) -> list[Figure]:
    """What the median of the runs took, with its details."""
    of_each, middle = _p99(runs, Sold.answered)
    fast = at_most(
        f"{name}: due to answered, p99",
        percentile(middle.answered(), 0.99) * 1000,
        "ms",
        answered,
        answered_ms=milliseconds(middle.answered()),
    )
    fast.turns = of_each
    of_each, middle = _p99(runs, Sold.visible_after_due)
    seen = at_most(
        f"{name}: due to visible, p99",
        percentile(middle.visible_after_due(), 0.99) * 1000,
        "ms",
        visible,
        after_the_answer_ms=milliseconds(middle.visible_after_answer()),
        after_due_ms=milliseconds(middle.visible_after_due()),
        generators_share_of_a_core=round(middle.generator_cpu, 2),
        stages_ms=_stages(middle, times),
    )
    seen.turns = of_each
    return [fast, seen]


def _p99(
    runs: Sequence[Sold], seconds: Callable[[Sold], Sequence[float]]
) -> tuple[list[float], Sold]:
    """The milliseconds of each run, where there are several, and the run in the middle."""
    ordered = sorted(runs, key=lambda sold: percentile(seconds(sold), 0.99))
    of_each = [percentile(seconds(sold), 0.99) * 1000 for sold in ordered]
    return of_each if len(runs) > 1 else [], ordered[len(runs) // 2]


def _stages(sold: Sold, times: Path) -> dict[str, Any]:
    """Where the time went, p50 and p99 of each stage in milliseconds."""
    shop, cards = (json.loads((times / f"{n}.json").read_text()) for n in ("shop", "cards"))
    ids = [sale.id for sale in sold.sales]
    due = {sale.id: sale.due for sale in sold.sales}
    answered = {sale.id: sale.acknowledged for sale in sold.sales}
    seen = {sale.id: sale.seen for sale in sold.sales}
    steps = [
        ("due to committed", due, shop["committed"]),
        ("committed to answered", shop["committed"], answered),
        ("committed to sent (relay)", shop["committed"], shop["sent"]),
        ("sent to arrived (broker)", shop["sent"], cards["arrived"]),
        ("arrived to settled (consumer)", cards["arrived"], cards["settled"]),
        ("settled to seen (looked for)", cards["settled"], seen),
    ]
    found = {
        name: _p50_p99([(b[i] - a[i]) * 1000 for i in ids if a.get(i) and b.get(i)])
        for name, a, b in steps
    }
    first, last = min(due.values()), max(seen.values())
    for name, noted in (("shop", shop), ("cards", cards)):
        writes = [w for w in noted["writes"] if first <= w[0] <= last]
        for index, part in enumerate(("queue", "work", "commit"), 1):
            found[f"{name}'s store: {part}"] = _p50_p99([w[index] * 1000 for w in writes])
    return found


def _p50_p99(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.1f} / {percentile(values, 0.99):.1f}"


async def _slow_disk(place: Place) -> list[Figure]:
    name = "sqlite, 5 ms more for each fsync"
    try:
        extra = await place.slow_disk()
    except NoSlowDisk as reason:
        return [left_out(name, reason)]
    kafka = place.new_kafka("kafka-slow", environment=extra)
    async with house(place, "sqlite", kafka, extra=extra) as running:
        sold = await _sold(running, OFTEN, place.scale * SECONDS * 0.75)
    kafka.kill()
    return lines(f"{name}, {OFTEN:g} sales/s", [sold], running.times, 250, None)


# while something large goes on


async def _while_busy(place: Place, engine: str) -> list[Figure]:
    """Sales while the shop catches up, builds a read model anew, and is backed up: those that were
    due while it went on."""
    behind = place.size(BEHIND, least=LEAST_BEHIND)
    limit = 100 if behind >= BEHIND else None
    known, told_of = facts.registrations(HOUSEHOLDS), facts.credits(behind, HOUSEHOLDS)
    made = facts.messages(chain(known, told_of), "cards")
    kafka = place.new_kafka(f"kafka-busy-{engine}")
    bus = Bus(kafka.bootstrap, "cards", kafka.secret("cards"))
    await facts.send(bus, "cards.events", made)
    url = place.new_store(SHOP, engine)
    facts.into(url, lambda store: facts.fill_shop(store, HOUSEHOLDS))
    with served("shop", url, kafka) as shop:
        await _begun(shop)
        catching_up = await _busy(shop, lambda: _lag(shop.port) > 0)
        applied = round(behind - _lag(shop.port))
        await _caught_up(shop)
        _rebuild(shop.port)
        rebuilding = await _busy(shop, lambda: _rebuilds(shop.port))
    place.drop(url)
    size = grown.Size.of(min(1.0, GROWN_SHARE * place.scale))
    url = place.new_store(SHOP, engine)
    grown.fill_shop(url, size)
    with served("shop", url, kafka) as shop:
        await _begun(shop)
        await _caught_up(shop)
        selling = asyncio.create_task(_busy(shop, None, households=size.households))
        backups: list[float] = []
        while not selling.done():
            backups.append(await _backup(place, url))
        backing_up = await selling
    kafka.kill()
    place.drop(url)
    told: dict[str, tuple[Sold, float | None, dict[str, Any]]] = {
        f"a catch-up of {behind:,} events": (catching_up, limit, {"applied_meanwhile": applied}),
        f"a rebuild from {behind:,} events": (rebuilding, limit, {}),
        f"backups of {size.sales:,} sales, one after the other": (
            backing_up,
            100,
            {"taken": len(backups), "size_mb": round(max(backups), 1)},
        ),
    }
    return [
        at_most(
            f"{engine}, {BUSY_RATE:g} sales/s during {name}: due to answered, p99",
            percentile(sold.answered(), 0.99) * 1000,
            "ms",
            limit,
            answered_ms=milliseconds(sold.answered()),
            **more,
        )
        for name, (sold, limit, more) in told.items()
    ]


async def _backup(place: Place, url: str) -> float:
    """Take one; its size in MB."""
    file = place.folder / "backup"
    file.unlink(missing_ok=True)
    taking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.backing_up", str(place.folder), str(file)),
        f"shop={url}",
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin"},
    )
    if await taking.wait():
        raise RuntimeError("a backup was not taken")
    return file.stat().st_size / 2**20


async def _busy(
    shop: Served, goes_on: Callable[[], bool] | None, *, households: int = HOUSEHOLDS
) -> Sold:
    """Sales for a time, but no longer than something goes on."""
    over = asyncio.Event()

    async def look(goes_on: Callable[[], bool]) -> None:
        await asyncio.to_thread(_while, goes_on, BUSY_SECONDS)
        over.set()

    looking = asyncio.create_task(look(goes_on)) if goes_on is not None else None
    sold = await sell(
        shop.port,
        BUSY_RATE,
        BUSY_SECONDS,
        households=households,
        warm_up=0.5,
        seed=time.monotonic_ns(),
        over=over,
    )
    if looking is not None:
        await looking
    return sold


async def _begun(shop: Served) -> None:
    """It knows how much there is to be caught up with."""
    await asyncio.to_thread(_while, lambda: _lag(shop.port) == 0, CAUGHT_UP_WITHIN)


async def _caught_up(shop: Served) -> None:
    """Nothing is left to be caught up with, if anything was."""
    await asyncio.to_thread(_while, lambda: _lag(shop.port) > 0, CAUGHT_UP_WITHIN)


def _while(goes_on: Callable[[], bool], seconds: float) -> None:
    """Until it does not go on any more, but no longer than this."""
    until = time.monotonic() + seconds
    while goes_on() and time.monotonic() < until:
        time.sleep(LOOKED_EVERY)


def _lag(port: int) -> float:
    """Records that are there and not settled, of all partitions."""
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    lines = [line for line in page.splitlines() if line.startswith("vicinato_consumer_lag{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def _rebuild(port: int) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{port}/shop/api/projections/households_seen/rebuild",
        headers={**_ADMINISTRATOR, "Idempotency-Key": "bench-rebuild"},
        timeout=30,
    )
    answer.raise_for_status()


def _rebuilds(port: int) -> bool:
    """Whether a read model is still being built anew."""
    path = f"http://127.0.0.1:{port}/shop/api/projections"
    answer = httpx.get(path, headers=_ADMINISTRATOR, timeout=30).raise_for_status()
    progress = [item["progress"] for item in answer.json()["items"]]
    return any(one is not None and not one["done"] for one in progress)


_ADMINISTRATOR = {"Authorization": f"Bearer {token(Role.ADMINISTRATOR)}"}
