"""(h) Stores that have grown: is it still as fast?

Empty stores and grown ones take turns: sales answered and points visible at 50 sales/s (a), events
applied per second (b), sales per second over HTTP (d), of households drawn from all that a store
has; each has a broker of its own. By default the grown ones have a tenth of 100,000 households,
5,000,000 ledger entries and 1,000,000 past sales; `SCALE=10` is all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks import applied, facts, grown, sold, visible
from benchmarks.figures import Figure, percentile, ratio, slower
from benchmarks.place import Place
from benchmarks.till import Watch, sell
from cards.app import SERVICE as CARDS
from messaging import Service
from messaging.bus import Bus
from solidarity_shop.app import SERVICE as SHOP

SHARE = 0.1
SECONDS = 8.0
EVENTS = 8_000
LEAST, MOST = 0.8, 1.2
"""Of a rate, and of a time: a fifth worse."""
PART_WITHIN = 1500.0


async def run(place: Place) -> list[Figure]:
    """Grown against empty, engine by engine."""
    size = grown.Size.of(min(1.0, SHARE * place.scale))
    # However small, those whom the events name are there.
    size = replace(size, households=max(visible.HOUSEHOLDS, size.households))
    small = grown.Size(visible.HOUSEHOLDS, 0, 0)
    logs = {count: await _log(place, count) for count in {small.households, size.households}}
    figures = place.figures
    for engine in place.engines:
        empty = _stores(place, engine, small, grown_up=False)
        old = _stores(place, engine, size, grown_up=True)
        told = f"{engine}, {size}"
        both = [
            _Stores(*urls, of.households, logs[of.households])
            for urls, of in ((empty, small), (old, size))
        ]
        figures += await _one_engine(place, engine, told, *both)
        for url in (*empty, *old):
            place.drop(url)
    return figures


@dataclass(frozen=True)
class _Stores:
    """A shop and a cards, the households of both, and a log of sales to them."""

    shop: str
    cards: str
    households: int
    log: Bus


async def _log(place: Place, households: int) -> Bus:
    """Sales to these households on a broker of their own, as cards sees it."""
    kafka = place.new_kafka(f"kafka-log-{households}")
    made = facts.messages(facts.sales(EVENTS, households), "shop")
    await facts.send(Bus(kafka.bootstrap, "shop", kafka.secret("shop")), applied.TOPIC, made)
    return Bus(kafka.bootstrap, "cards", kafka.secret("cards"))


def _stores(place: Place, engine: str, size: grown.Size, *, grown_up: bool) -> tuple[str, str]:
    fills: list[tuple[Service, Callable[[str, grown.Size], None]]] = [
        (SHOP, grown.fill_shop if grown_up else _small_shop),
        (CARDS, grown.fill_cards if grown_up else _small_cards),
    ]
    found = []
    for service, fill in fills:
        url = place.new_store(service, engine)
        fill(url, size)
        found.append(url)
    return found[0], found[1]


def _small_shop(url: str, size: grown.Size) -> None:
    facts.into(url, lambda store: facts.fill_shop(store, size.households))


def _small_cards(url: str, size: grown.Size) -> None:
    facts.into(url, lambda store: facts.fill_cards(store, size.households))


async def _one_engine(
    place: Place, engine: str, told: str, empty: _Stores, old: _Stores
) -> list[Figure]:
    answered, seen, applying, selling = [], [], [], []
    for _ in range(place.rounds):
        quick, slow = await _visible(place, engine, empty), await _visible(place, engine, old)
        answered.append((quick[0], slow[0]))
        seen.append((quick[1], slow[1]))
        applying.append((await _applied(place, empty), await _applied(place, old)))
        selling.append((await _selling(place, empty), await _selling(place, old)))
    return [
        slower(f"{told}: (a) answered, p99, of empty stores", answered, MOST),
        slower(f"{told}: (a) visible, p99, of empty stores", seen, MOST),
        ratio(f"{told}: (b) events applied, of empty stores", applying, LEAST),
        ratio(f"{told}: (d) sales per second, of empty stores", selling, LEAST),
    ]


async def _visible(place: Place, engine: str, stores: _Stores) -> tuple[float, float]:
    copies = place.copy(stores.shop), place.copy(stores.cards)
    kafka = place.new_kafka(f"kafka-{time.monotonic_ns()}")
    async with visible.house(place, engine, kafka, stores=copies) as running:
        with Watch(running.cards_url) as watch:
            found = await sell(
                running.shop.port,
                visible.OFTEN,
                SECONDS,
                households=stores.households,
                watch=watch,
            )
    kafka.kill()
    for url in copies:
        place.drop(url)
    return percentile(found.answered(), 0.99), percentile(found.visible_after_due(), 0.99)


async def _applied(place: Place, stores: _Stores) -> float:
    url = place.copy(stores.cards)
    rate = await applied.ours(url, stores.log, EVENTS)
    place.drop(url)
    return rate


async def _selling(place: Place, stores: _Stores) -> float:
    found, _ = await sold.rate(place, stores.shop, None, seconds=4.0, households=stores.households)
    return found
