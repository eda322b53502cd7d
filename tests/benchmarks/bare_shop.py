"""``python -m benchmarks.bare_shop``: the endpoint that (d) is measured against.

FastAPI on uvicorn with uvloop and httptools; a pydantic body; nobody is asked who they are, nothing
is checked, logged or counted. The rows are those of a sale (sale, line, movement, stock, two events
in the outbox), written by hand-made SQL on the bare driver, one transaction for each sale, in one
writer thread on SQLite and in two on PostgreSQL, there in a pipeline.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from benchmarks import facts
from contracts.shop import SaleCompleted, SaleLine, StockMoved, StockReason
from web.serve import spare_the_collector


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
_OUTBOX = "id, topic, key, previous, type, headers, body, at"

Write = Callable[[str, SaleIn], SaleOut]


class _Rows:
    """The rows of a sale, ready to be bound. ``moment`` makes a time what the driver takes."""

    def __init__(
        self,
        till: str,
        sale: SaleIn,
        product: tuple[Any, ...],
        moment: Callable[[datetime], Any],
        wrap: Callable[[dict[str, str]], Any],
    ) -> None:
        name, category, price, on_hand = product
        line = sale.lines[0]
        now = datetime.now(UTC)
        at, total = moment(now), price * line.quantity
        self.left = on_hand - line.quantity
        self.sale = (
            *(sale.id, till, facts.CENTRE, "", "completed", "none", "", "", sale.card.number, ""),
            *(total, total, 0, 10, "", "", at, at),
        )
        self.line = (
            *(sale.id, line.product_id, 0, "", 0, name, category, line.quantity, price, total),
            at,
        )
        movement = str(uuid.uuid4())
        self.movement = (
            *(movement, line.product_id, "sale", -line.quantity, self.left, sale.id, "", "", ""),
            at,
        )
        completed = SaleCompleted(
            sale_id=sale.id,
            centre_id=facts.CENTRE,
            till_id=till,
            card_id=sale.card.number,
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
        self.events = [
            (
                str(uuid.uuid4()),
                "shop.events",
                event.key,
                None,
                event.ce_type(),
                wrap({"ce_type": event.ce_type(), "ce_subject": event.key}),
                event.model_dump_json().encode(),
                at,
            )
            for event in (moved, completed)
        ]
        self.out = SaleOut(
            id=sale.id,
            till_id=till,
            state="completed",
            total_cents=total,
            on_hand=self.left,
            sold_at=now,
        )


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

    def write(till: str, sale: SaleIn) -> SaleOut:
        product_id = sale.lines[0].product_id
        execute("BEGIN IMMEDIATE")
        try:
            product = execute(
                "SELECT name, category, price_cents, on_hand FROM product WHERE id = ?",
                (product_id,),
            ).fetchone()
            rows = _Rows(till, sale, product, moment, json.dumps)
            execute(f"INSERT INTO sale ({_SALE}) VALUES ({marks(_SALE)})", rows.sale)
            execute(f"INSERT INTO sale_line ({_LINE}) VALUES ({marks(_LINE)})", rows.line)
            execute(
                f"INSERT INTO movement ({_MOVEMENT}) VALUES ({marks(_MOVEMENT)})", rows.movement
            )
            execute("UPDATE product SET on_hand = ? WHERE id = ?", (rows.left, product_id))
            connection.executemany(
                f"INSERT INTO outbox ({_OUTBOX}) VALUES ({marks(_OUTBOX)})", rows.events
            )
            execute("COMMIT")
        except BaseException:
            execute("ROLLBACK")
            raise
        return rows.out

    return write


def _postgresql(url: str) -> Write:
    local = threading.local()

    def marks(columns: str) -> str:
        return ", ".join(["%s"] * (columns.count(",") + 1))

    def write(till: str, sale: SaleIn) -> SaleOut:
        if not hasattr(local, "connection"):
            local.connection = psycopg.connect(url, autocommit=True, prepare_threshold=1)
        connection: psycopg.Connection[tuple[Any, ...]] = local.connection
        product_id = sale.lines[0].product_id
        with connection.pipeline(), connection.transaction():
            execute = connection.execute
            product = execute(
                "SELECT name, category, price_cents, on_hand FROM product WHERE id = %s FOR UPDATE",
                (product_id,),
            ).fetchone()
            assert product is not None
            rows = _Rows(till, sale, product, lambda when: when, Jsonb)
            execute(f"INSERT INTO sale ({_SALE}) VALUES ({marks(_SALE)})", rows.sale)
            execute(f"INSERT INTO sale_line ({_LINE}) VALUES ({marks(_LINE)})", rows.line)
            execute(
                f"INSERT INTO movement ({_MOVEMENT}) VALUES ({marks(_MOVEMENT)})", rows.movement
            )
            execute("UPDATE product SET on_hand = %s WHERE id = %s", (rows.left, product_id))
            for event in rows.events:
                execute(f"INSERT INTO outbox ({_OUTBOX}) VALUES ({marks(_OUTBOX)})", event)
        return rows.out

    return write


def build(url: str) -> FastAPI:
    """The application."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        write, writers = _sqlite(str(address.database)), ThreadPoolExecutor(1)
    else:
        write, writers = _postgresql(url), ThreadPoolExecutor(2)
    app = FastAPI(openapi_url=None)

    @app.post("/shop/api/tills/{till_id}/sales", status_code=201)
    async def sell(till_id: str, body: SaleIn) -> SaleOut:
        return await asyncio.get_running_loop().run_in_executor(writers, write, till_id, body)

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
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
