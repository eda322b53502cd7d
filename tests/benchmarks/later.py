"""(h) Stores that have grown: is it still as fast?

Empty stores and grown ones take turns: sales answered and points visible at 50 sales/s (a), events
applied per second (b), sales per second over HTTP (d). By default the grown ones have a tenth of
100,000 households, 5,000,000 ledger entries and 1,000,000 past sales; `SCALE=10` is all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks import applied, facts, grown, sold, visible
from benchmarks.figures import Figure, percentile, ratio
from benchmarks.place import Place
from benchmarks.till import Watch, sell
from cards.app import SERVICE as CARDS
from messaging import Service
from solidarity_shop.app import SERVICE as SHOP

SHARE = 0.1
SECONDS = 8.0
EVENTS = 8_000
LEAST = 0.8
PART_WITHIN = 1200.0


async def run(place: Place) -> list[Figure]:
    """Grown against empty, engine by engine."""
    size = grown.Size.of(min(1.0, SHARE * place.scale))
    # However small, those whom the events name are there.
    size = replace(size, households=max(visible.HOUSEHOLDS, size.households))
    small = grown.Size(visible.HOUSEHOLDS, 0, 0)
    await facts.send(
        place.bus("shop"),
        applied.TOPIC,
        facts.messages(facts.sales(EVENTS, visible.HOUSEHOLDS), "shop"),
    )
    figures = place.figures
    for engine in place.engines:
        empty = _stores(place, engine, small, grown_up=False)
        old = _stores(place, engine, size, grown_up=True)
        told = f"{engine}, {size}"
        figures += await _one_engine(place, engine, told, empty, old)
        for url in (*empty, *old):
            place.drop(url)
    return figures


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
    place: Place, engine: str, told: str, empty: Sequence[str], old: Sequence[str]
) -> list[Figure]:
    answered, seen, applying, selling = [], [], [], []
    for _ in range(place.rounds):
        quick, slow = await _visible(place, engine, empty), await _visible(place, engine, old)
        # Rates: the more the better. Of times the inverse is compared, so that 0.8 means the same.
        answered.append((1 / quick[0], 1 / slow[0]))
        seen.append((1 / quick[1], 1 / slow[1]))
        applying.append((await _applied(place, empty[1]), await _applied(place, old[1])))
        selling.append((await _selling(place, empty[0]), await _selling(place, old[0])))
    return [
        ratio(f"{told}: (a) answered, p99, of empty stores", answered, LEAST),
        ratio(f"{told}: (a) visible, p99, of empty stores", seen, LEAST),
        ratio(f"{told}: (b) events applied, of empty stores", applying, LEAST),
        ratio(f"{told}: (d) sales per second, of empty stores", selling, LEAST),
    ]


async def _visible(place: Place, engine: str, stores: Sequence[str]) -> tuple[float, float]:
    copies = place.copy(stores[0]), place.copy(stores[1])
    kafka = place.new_kafka(f"kafka-{time.monotonic_ns()}")
    async with visible.house(place, engine, kafka, stores=copies) as running:
        with Watch(running.cards_url) as watch:
            found = await sell(
                running.shop.port,
                visible.OFTEN,
                SECONDS,
                households=visible.HOUSEHOLDS,
                watch=watch,
            )
    kafka.kill()
    for url in copies:
        place.drop(url)
    return percentile(found.answered(), 0.99), percentile(found.visible_after_due(), 0.99)


async def _applied(place: Place, template: str) -> float:
    url = place.copy(template)
    rate = await applied.ours(url, place.bus("cards"), EVENTS)
    place.drop(url)
    return rate


async def _selling(place: Place, template: str) -> float:
    found, _ = await sold.rate(place, template, None, seconds=4.0)
    return found
