"""What the runs are made of: households with cards, products, a till, and sales on the bus."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from cards import store as cards_store
from cards.app import SERVICE as CARDS
from contracts import Event
from contracts.cards import CreditReason, HouseholdRegistered, PointsCredited, PointsMoved
from contracts.shop import SaleCompleted, SaleLine, SaleRefunded
from messaging import Service, rebuild
from messaging.bus import Bus
from messaging.envelope import Record, body_of, headers_for, wire_headers
from messaging.relay import COMPARED
from messaging.tables import write_meta
from runtime.clock import SystemClock
from runtime.ids import Ids, SystemIds
from runtime.store import Store
from solidarity_shop import store as shop_store
from solidarity_shop.app import SERVICE as SHOP
from web.testing import publish_key

CENTRE = "centre-1"
TILL = "till-1"
RULES_FROM = datetime(2026, 1, 1, tzinfo=UTC)
PER_EURO = 1
VALID_DAYS = 365
PRODUCTS = 200
AT_ONCE = 2_000
REFUNDED_BEHIND = 50
"""Sales between a sale and its first refund, and from there to its second."""

Message = tuple[bytes, bytes | None, list[tuple[str, bytes]]]


def household(number: int) -> str:
    return f"household-{number:07d}"


def card_number(number: int) -> str:
    return f"{number:010d}"


def product(number: int) -> str:
    return f"product-{number:05d}"


def _stand(connection: sa.Connection, service: Service) -> None:
    """As a store that is in use: it believes the benches' tokens, its log was compared, and its
    read models are live, so that nothing is built anew when it is opened with what it has heard."""
    publish_key(connection)
    write_meta(connection, COMPARED, datetime.now(UTC).isoformat())
    rebuild.declare(connection, service)


def fill_cards(store: Store, households: int) -> None:
    """A centre with an earning rule, and households that sales can name."""

    def work(connection: sa.Connection) -> None:
        _stand(connection, CARDS)
        connection.execute(
            sa.insert(cards_store.centre_seen),
            [
                {
                    "centre_id": CENTRE,
                    "name": "B",
                    "time_zone": "Europe/Rome",
                    "opened_at": RULES_FROM,
                }
            ],
        )
        connection.execute(
            sa.insert(cards_store.earning_rule),
            [
                {
                    "id": "rule-1",
                    "centre_id": CENTRE,
                    "from_time": RULES_FROM,
                    "per_euro": PER_EURO,
                    "per_attendance": 5,
                    "valid_days": VALID_DAYS,
                    "set_at": RULES_FROM,
                }
            ],
        )
        connection.execute(
            sa.insert(cards_store.household),
            [
                {
                    "id": household(n),
                    "centre_id": CENTRE,
                    "holder_id": f"person-{n:07d}",
                    "zone": "Satta",
                    "registered_at": RULES_FROM,
                    "changed_at": RULES_FROM,
                }
                for n in range(households)
            ],
        )

    store.write_now(work)


def fill_shop(store: Store, households: int) -> None:
    """A till, products with plenty of stock, and the households' cards as cards told of them."""

    def work(connection: sa.Connection) -> None:
        _stand(connection, SHOP)
        rows: list[tuple[sa.Table, list[dict[str, Any]]]] = [
            (
                shop_store.till,
                [{"id": TILL, "centre_id": CENTRE, "name": "Cassa", "created_at": RULES_FROM}],
            ),
            (
                shop_store.product,
                [
                    {
                        "id": product(n),
                        "centre_id": CENTRE,
                        "producer_id": None,
                        "name": f"Pane {n}",
                        "name_key": f"pane {n}",
                        "barcode": f"80{n:011d}",
                        "category": "food",
                        "price_cents": 350,
                        "minimum": 0,
                        "sellable": True,
                        "on_hand": 10_000_000,
                        "changed_at": RULES_FROM,
                    }
                    for n in range(PRODUCTS)
                ],
            ),
            (
                shop_store.movement,
                [
                    {
                        "id": f"delivery-{n}",
                        "product_id": product(n),
                        "reason": "delivery",
                        "quantity": 10_000_000,
                        "on_hand": 10_000_000,
                        "origin": "",
                        "note": "",
                        "override_reason": "",
                        "actor": "system",
                        "at": RULES_FROM,
                    }
                    for n in range(PRODUCTS)
                ],
            ),
            (
                shop_store.household_seen,
                [
                    {
                        "household_id": household(n),
                        "centre_id": CENTRE,
                        "erased": False,
                        "changed_at": RULES_FROM,
                    }
                    for n in range(households)
                ],
            ),
            (
                shop_store.card_seen,
                [
                    {
                        "card_id": f"card-{n:07d}",
                        "household_id": household(n),
                        "number": card_number(n),
                        "token_digest": hashlib.sha256(card_number(n).encode()).hexdigest(),
                        "blocked": False,
                        "blocked_reason": "",
                    }
                    for n in range(households)
                ],
            ),
        ]
        for table, values in rows:
            connection.execute(sa.insert(table), values)

    store.write_now(work)


def into(url: str, fill: Callable[[Store], None]) -> None:
    """Fill a store that nobody has open."""
    store = Store(url)
    try:
        fill(store)
    finally:
        store.close_now()


_SETTLED = "SELECT coalesce(sum(record_offset + 1), 0) FROM place WHERE side = 'in' AND topic IN "
_OF_THE_SHOP = "('shop.events')"
_WITH_ITS_OWN = "('shop.events', 'cards.events')"


def settled(url: str, *, own: bool = False) -> int:
    """How many records of the shop a store of cards has settled, by its places; with ``own`` also
    those that it told itself, which its timeline shows as well."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        query = _SETTLED + (_WITH_ITS_OWN if own else _OF_THE_SHOP)
        with contextlib.closing(sqlite3.connect(str(address.database), timeout=10)) as reader:
            return int(reader.execute(query).fetchone()[0])
    with psycopg.connect(url) as server:
        return settled_on(server, own=own)


def settled_on(server: psycopg.Connection[tuple[Any, ...]], *, own: bool = False) -> int:
    """`settled` of a PostgreSQL to which there is a connection."""
    query = _SETTLED + (_WITH_ITS_OWN if own else _OF_THE_SHOP)
    found = server.execute(query).fetchone()
    return int(found[0]) if found else 0


def sales(count: int, households: int, seed: int = 1) -> Iterable[SaleCompleted]:
    """Sales of one piece for 3.50 €, with a card, at households chosen by a seeded dice."""
    dice = random.Random(seed)
    now = SystemClock().now()
    for n in range(count):
        yield SaleCompleted(
            sale_id=f"sale-{seed}-{n:08d}",
            centre_id=CENTRE,
            till_id=TILL,
            household_id=household(dice.randrange(households)),
            card_id="card",
            total_cents=350,
            money_cents=350,
            lines=(_line(n, 350),),
            sold_at=now + timedelta(milliseconds=n),
        )


def sales_with_refunds(count: int, households: int, seed: int = 1) -> Iterator[Event]:
    """Three facts of each of `count` sales, some time behind each other: a sale of 5 to 9 €, then
    1 € and 2 € of it given back. Each moves other points, so that their order shows."""
    dice = random.Random(seed)
    now = SystemClock().now()
    for n in range(count + 2 * REFUNDED_BEHIND):
        if n < count:
            yield _sale(f"sale-{seed}-{n}", household(dice.randrange(households)), n, now)
        for part, cents in ((1, 100), (2, 200)):
            sold = n - part * REFUNDED_BEHIND
            if 0 <= sold < count:
                yield _refund(f"sale-{seed}-{sold}", part, cents, now + timedelta(hours=1))


def _sale(sale_id: str, of: str, number: int, now: datetime) -> SaleCompleted:
    cents = 500 + 100 * (number % 5)
    return SaleCompleted(
        sale_id=sale_id,
        centre_id=CENTRE,
        till_id=TILL,
        household_id=of,
        card_id="card",
        total_cents=cents,
        money_cents=cents,
        lines=(_line(number, cents),),
        sold_at=now,
    )


def _refund(sale_id: str, part: int, cents: int, now: datetime) -> SaleRefunded:
    return SaleRefunded(
        sale_id=sale_id,
        refund_id=f"refund-{part}-{sale_id}",
        centre_id=CENTRE,
        till_id=TILL,
        total_cents=cents,
        money_cents=cents,
        lines=(_line(part, cents),),
        refunded_at=now,
    )


def _line(number: int, cents: int) -> SaleLine:
    return SaleLine(
        product_id=product(number % PRODUCTS), category="food", quantity=1, amount_cents=cents
    )


def registrations(households: int) -> Iterable[HouseholdRegistered]:
    """The households of `fill_shop` as cards told of them: a rebuild finds them in the log."""
    for n in range(households):
        yield HouseholdRegistered(
            household_id=household(n),
            centre_id=CENTRE,
            holder_id=f"person-{n:07d}",
            person_ids=(f"person-{n:07d}",),
            registered_at=RULES_FROM,
        )


def credits(count: int, households: int, seed: int = 1) -> Iterable[PointsCredited]:
    """Points that came in, as cards tells them; in turns, so that each household has its order."""
    now = SystemClock().now()
    for n in range(count):
        yield PointsCredited(
            household_id=household(n % households),
            transfer_id=f"transfer-{seed}-{n:08d}",
            reason=CreditReason.SALE,
            origin=f"sale-{seed}-{n:08d}",
            points=3,
            buckets=(PointsMoved(points=3, expires_at=now + timedelta(days=VALID_DAYS)),),
            available=3 * (n // households + 1),
            held=0,
            credited_at=now + timedelta(milliseconds=n),
        )


def messages(events: Iterable[Event], source: str, ids: Ids | None = None) -> list[Message]:
    """Key, value and headers of events as their relay would send them."""
    ids = ids or SystemIds()
    now = SystemClock().now()
    last: dict[str, str] = {}
    made: list[Message] = []
    for event in events:
        event_id = ids.new()
        headers = headers_for(
            event,
            event_id=event_id,
            source=f"/{source}",
            time=now,
            correlation=event_id,
            centre=CENTRE,
        )
        wire = wire_headers(headers, previous=last.get(event.key), cause=None, era=0)
        last[event.key] = event_id
        made.append((event.key.encode(), body_of(event), wire))
    return made


async def send(bus: Bus, topic: str, made: Sequence[Message]) -> None:
    """Put messages on the bus."""
    producer = bus.producer()
    await producer.start()
    try:
        for start in range(0, len(made), AT_ONCE):
            futures = [
                await producer.send(topic, value=value, key=key, headers=headers)
                for key, value, headers in made[start : start + AT_ONCE]
            ]
            await asyncio.gather(*futures)
    finally:
        await producer.stop()


async def all_records(bus: Bus, topic: str) -> list[Record]:
    """Every record of a topic, partition after partition."""
    return [record async for batch in _read(bus, topic) for record in batch]


async def _read(bus: Bus, topic: str) -> AsyncIterator[Sequence[Record]]:
    async with bus.reader() as reader:
        async for batch in reader.read({}, await reader.ends([topic])):
            yield batch
