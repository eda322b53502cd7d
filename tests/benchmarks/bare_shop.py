"""``python -m benchmarks.bare_shop``: the endpoint that (d) is measured against.

FastAPI on uvicorn with uvloop and httptools, with the collector and the turns of threads set as in
our services; a pydantic body; nobody is asked who they are, nothing is checked, logged or counted.
The rows are those of a sale of ours, value by value (sale, line, movement, stock, two events in the
outbox, chained to the last of their key), written by hand-made SQL on the bare driver. On SQLite
all sales that wait go into one transaction of one writer thread; on PostgreSQL each is a
transaction of two statements, of one of four. What must be asked for them is asked: the product,
and whose the card is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from benchmarks import facts
from contracts.shop import SaleCompleted, SaleLine, StockMoved, StockReason
from messaging.envelope import body_of, headers_for
from runtime.clock import SystemClock
from runtime.ids import SystemIds
from runtime.types import json_text
from web.serve import SWITCH, spare_the_collector


class Line(BaseModel):
    product_id: str = Field(min_length=1, max_length=64)
    quantity: int = Field(ge=1)


class Card(BaseModel):
    number: str


class Payment(BaseModel):
    method: str
    amount_cents: int = Field(ge=0)


class SaleIn(BaseModel):
    id: str = Field(min_length=1, max_length=64)
    card: Card
    lines: list[Line] = Field(min_length=1, max_length=1)
    payments: list[Payment] = Field(min_length=1, max_length=1)


class SaleOut(BaseModel):
    id: str
    till_id: str
    state: str
    total_cents: int
    on_hand: int
    sold_at: datetime


_SALE = (
    "id, till_id, centre_id, digest, state, points_state, reason, household_id, card_id,"
    " payment_id, total_cents, money_cents, points, point_value, override_reason, actor,"
    " opened_at, ended_at"
)
_LINE = (
    "sale_id, product_id, place, producer_id, fee_percent, name, category, quantity, price_cents,"
    " amount_cents, sold_at"
)
_MOVEMENT = "id, product_id, reason, quantity, on_hand, origin, note, override_reason, actor, at"
_OUTBOX = "id, topic, key, previous, cause, type, headers, body, at"

_IDS = SystemIds(SystemClock())

Write = Callable[[str, SaleIn], Awaitable[SaleOut]]


class _Rows:
    """The rows of a sale, ready to be bound. ``moment`` makes a time what the driver takes."""

    def __init__(
        self,
        till: str,
        sale: SaleIn,
        product: tuple[Any, ...],
        card: tuple[str, str],
        moment: Callable[[datetime], Any],
        wrap: Callable[[dict[str, str]], Any],
    ) -> None:
        name, category, price, on_hand = product
        card_id, household = card
        line = sale.lines[0]
        now = datetime.now(UTC)
        at, total = moment(now), price * line.quantity
        self.left = on_hand - line.quantity
        digest = hashlib.sha256(sale.model_dump_json().encode()).hexdigest()
        self.sale = (
            *(sale.id, till, facts.CENTRE, digest, "completed", "none", "", household, card_id, ""),
            *(total, total, 0, 10, "", _ACTOR, at, at),
        )
        self.line = (
            *(sale.id, line.product_id, 0, "", 0, name, category, line.quantity, price, total),
            at,
        )
        movement = _IDS.new()
        self.movement = (
            *(movement, line.product_id, "sale", -line.quantity, self.left, sale.id, "", ""),
            *(_ACTOR, at),
        )
        completed = SaleCompleted(
            sale_id=sale.id,
            centre_id=facts.CENTRE,
            till_id=till,
            household_id=household,
            card_id=card_id,
            total_cents=total,
            money_cents=total,
            lines=(
                SaleLine(
                    product_id=line.product_id,
                    category=category,
                    quantity=line.quantity,
                    amount_cents=total,
                ),
            ),
            sold_at=now,
        )
        moved = StockMoved(
            product_id=line.product_id,
            movement_id=movement,
            reason=StockReason.SALE,
            quantity=-line.quantity,
            on_hand=self.left,
            origin=sale.id,
            moved_at=now,
        )
        correlation = _IDS.new()
        self.events = []
        for event in (moved, completed):
            event_id = _IDS.new()
            headers = headers_for(
                event,
                event_id=event_id,
                source="/shop",
                time=now,
                correlation=correlation,
                centre=facts.CENTRE,
            )
            told = (event.ce_type(), wrap(headers), body_of(event), at)
            self.events.append((event_id, "shop.events", event.key, event.key, *told))
        self.out = SaleOut(
            id=sale.id,
            till_id=till,
            state="completed",
            total_cents=total,
            on_hand=self.left,
            sold_at=now,
        )


_ACTOR = "till-account"

_CARD = (
    "SELECT card_id, household_id FROM card_seen"
    " JOIN household_seen USING (household_id) WHERE number = {}"
)
"""Whose the card of a number is."""


def _event(mark: str) -> str:
    """One event behind the last of its key: the key is bound twice."""
    last = (
        f"(SELECT id FROM outbox WHERE topic = 'shop.events' AND key = {mark}"
        ' ORDER BY "row" DESC LIMIT 1)'
    )
    return f"({mark}, {mark}, {mark}, {last}, NULL, {', '.join([mark] * 4)})"


def _sqlite(path: str) -> Write:
    connection = sqlite3.connect(
        path, isolation_level=None, cached_statements=64, check_same_thread=False
    )
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    execute = connection.execute

    def moment(when: datetime) -> str:
        return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def marks(columns: str) -> str:
        return ", ".join("?" * (columns.count(",") + 1))

    insert_event = f"INSERT INTO outbox ({_OUTBOX}) VALUES {_event('?')}"

    def write(till: str, sale: SaleIn) -> SaleOut:
        product_id = sale.lines[0].product_id
        product = execute(
            "SELECT name, category, price_cents, on_hand FROM product WHERE id = ?",
            (product_id,),
        ).fetchone()
        card = execute(_CARD.format("?"), (sale.card.number,)).fetchone()
        rows = _Rows(till, sale, product, card, moment, json_text)
        execute(f"INSERT INTO sale ({_SALE}) VALUES ({marks(_SALE)})", rows.sale)
        execute(f"INSERT INTO sale_line ({_LINE}) VALUES ({marks(_LINE)})", rows.line)
        execute(f"INSERT INTO movement ({_MOVEMENT}) VALUES ({marks(_MOVEMENT)})", rows.movement)
        execute("UPDATE product SET on_hand = ? WHERE id = ?", (rows.left, product_id))
        for event in rows.events:
            execute(insert_event, event)
        return rows.out

    def write_all(sales: Sequence[tuple[str, SaleIn]]) -> list[SaleOut]:
        execute("BEGIN IMMEDIATE")
        try:
            written = [write(till, sale) for till, sale in sales]
            execute("COMMIT")
        except BaseException:
            execute("ROLLBACK")
            raise
        return written

    return Together(write_all).write


class Together:
    """Sales that wait at the same moment go into one transaction of one thread, and are answered
    when it is on the disk. Where one cannot be written, each is tried by itself."""

    def __init__(self, write_all: Callable[[Sequence[tuple[str, SaleIn]]], list[SaleOut]]) -> None:
        self._write_all = write_all
        self._waiting: SimpleQueue[tuple[tuple[str, SaleIn], asyncio.Future[SaleOut]]]
        self._waiting = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def write(self, till: str, sale: SaleIn) -> SaleOut:
        future: asyncio.Future[SaleOut] = asyncio.get_running_loop().create_future()
        self._waiting.put(((till, sale), future))
        return await future

    def _run(self) -> None:
        while True:
            served = [self._waiting.get()]
            with contextlib.suppress(Empty):
                while True:
                    served.append(self._waiting.get_nowait())
            told = self._written([sale for sale, _ in served])
            futures = [future for _, future in served]
            futures[0].get_loop().call_soon_threadsafe(_tell, futures, told)

    def _written(self, sales: Sequence[tuple[str, SaleIn]]) -> list[SaleOut | Exception]:
        try:
            return [*self._write_all(sales)]
        except Exception as error:
            if len(sales) == 1:
                return [error]
            return [told for sale in sales for told in self._written([sale])]


def _tell(futures: list[asyncio.Future[SaleOut]], told: list[SaleOut | Exception]) -> None:
    for future, one in zip(futures, told, strict=True):
        if future.done():
            continue  # who asked went away
        if isinstance(one, Exception):
            future.set_exception(one)
        else:
            future.set_result(one)


def _postgresql(url: str) -> Write:
    """What must be asked is one statement, and all that is written another: in the driver's
    pipeline, one by one, a fifth fewer were sold. Two writers, or eight, sold less than four."""
    local, writers = threading.local(), ThreadPoolExecutor(4)

    def marks(columns: str) -> str:
        return ", ".join(["%s"] * (columns.count(",") + 1))

    ask = (
        "SELECT card_id, household_id, name, category, price_cents, on_hand FROM product,"
        f" ({_CARD.format('%s')}) AS card WHERE id = %s FOR UPDATE OF product"
    )
    keep = (
        f"WITH sold AS (INSERT INTO sale ({_SALE}) VALUES ({marks(_SALE)})),"
        f" line AS (INSERT INTO sale_line ({_LINE}) VALUES ({marks(_LINE)})),"
        f" moved AS (INSERT INTO movement ({_MOVEMENT}) VALUES ({marks(_MOVEMENT)})),"
        " stock AS (UPDATE product SET on_hand = %s WHERE id = %s)"
        f" INSERT INTO outbox ({_OUTBOX}) VALUES {_event('%s')}, {_event('%s')}"
    )
    wrap = partial(Jsonb, dumps=json_text)

    def write(till: str, sale: SaleIn) -> SaleOut:
        if not hasattr(local, "connection"):
            local.connection = psycopg.connect(url, autocommit=True, prepare_threshold=1)
        connection: psycopg.Connection[tuple[Any, ...]] = local.connection
        product_id = sale.lines[0].product_id
        with connection.transaction():
            found = connection.execute(ask, (sale.card.number, product_id)).fetchone()
            assert found is not None
            card, household, *product = found
            rows = _Rows(till, sale, tuple(product), (card, household), lambda when: when, wrap)
            stock = rows.left, product_id
            one, other = rows.events
            connection.execute(keep, (*rows.sale, *rows.line, *rows.movement, *stock, *one, *other))
        return rows.out

    async def write_in_a_thread(till: str, sale: SaleIn) -> SaleOut:
        return await asyncio.get_running_loop().run_in_executor(writers, write, till, sale)

    return write_in_a_thread


def writer(url: str) -> Write:
    """What keeps a sale, by its engine."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite(str(address.database))
    return _postgresql(url)


def build(url: str) -> FastAPI:
    """The application."""
    write = writer(url)
    app = FastAPI(openapi_url=None)

    @app.post("/shop/api/tills/{till_id}/sales", status_code=201)
    async def sell(till_id: str, body: SaleIn) -> SaleOut:
        return await write(till_id, body)

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH)
    spare_the_collector()
    uvicorn.run(
        build(os.environ["VICINATO_DATABASE_URL"]),
        port=int(os.environ["VICINATO_PORT"]),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_keep_alive=20,
    )
    sys.exit(0)
