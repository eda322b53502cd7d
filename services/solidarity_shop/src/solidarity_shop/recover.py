"""How a restored shop gets back what its own events tell and its store has forgotten.

What events do not carry comes back as a stub: the name of a producer (its id stands in for it) and
the reason of a refund. A sale that waited for points goes on waiting. One that was asked for before
events told its content (0.1) comes back without it: it is cancelled as soon as the shop opens,
which frees the points and puts the stock back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from contracts import Event, shop
from messaging import Received, Transaction
from runtime.store import upsert
from solidarity_shop import queries, store
from solidarity_shop.commands.sales import TIMEOUT_JOB
from solidarity_shop.domain.sale import UNKNOWN_TILL, WAITING_LIMIT, PointsState, State


def producer(tx: Transaction, received: Received[shop.ProducerRegistered]) -> None:
    event = received.event
    new = store.insert_once(
        tx.connection,
        store.producer,
        {
            "id": event.producer_id,
            "centre_id": event.centre_id,
            "name": event.producer_id,
            "name_key": store.name_key(event.producer_id),
            "fee_percent": event.fee_percent,
            "registered_at": event.registered_at,
        },
    )
    if new:
        # What was sold of it came before it: another key.
        tx.connection.execute(
            sa.update(store.sale_line)
            .where(store.sale_line.c.producer_id == event.producer_id)
            .values(fee_percent=event.fee_percent)
        )


def till(tx: Transaction, received: Received[shop.TillOpened]) -> None:
    event = received.event
    values = {"centre_id": event.centre_id, "name": event.name, "created_at": event.opened_at}
    if not store.insert_once(tx.connection, store.till, {"id": event.till_id, **values}):
        # A sale came before it: another key.
        mine = store.till.c.id == event.till_id
        tx.connection.execute(sa.update(store.till).where(mine).values(**values))


def point_value(tx: Transaction, received: Received[shop.PointValueSet]) -> None:
    store.put_point_value(tx.connection, received.event)


def product(tx: Transaction, received: Received[shop.ProductChanged]) -> None:
    event = received.event
    here = store.row_of(tx.connection, store.product, event.product_id)
    if here is not None and here["changed_at"] > event.changed_at:
        return
    values = {
        "centre_id": event.centre_id,
        "producer_id": event.producer_id or None,
        "name": event.name,
        "name_key": store.name_key(event.name),
        "barcode": _barcode(tx, event),
        "category": event.category,
        "price_cents": event.price_cents,
        "minimum": event.minimum,
        "sellable": event.sellable,
        "changed_at": event.changed_at,
    }
    if not store.insert_once(
        tx.connection, store.product, {"id": event.product_id, "on_hand": 0, **values}
    ):
        mine = store.product.c.id == event.product_id
        tx.connection.execute(sa.update(store.product).where(mine).values(**values))


def _barcode(tx: Transaction, event: shop.ProductChanged) -> str | None:
    """The barcode of a product, taken from one that had it before; None when another has it since.

    Each tells its own barcode, and what one had for a while may be read before the other lets it
    go: another key.
    """
    if not event.barcode:
        return None
    other = sa.and_(
        store.product.c.centre_id == event.centre_id,
        store.product.c.barcode == event.barcode,
        store.product.c.id != event.product_id,
    )
    before = store.product.c.changed_at <= event.changed_at
    tx.connection.execute(sa.update(store.product).where(other, before).values(barcode=None))
    taken = tx.connection.scalar(sa.select(sa.exists().where(other)))
    return None if taken else event.barcode


def movement(tx: Transaction, received: Received[shop.StockMoved]) -> None:
    event = received.event
    if event.reason is shop.StockReason.SALE:
        _drop_basket(tx, event.origin)
    new = store.insert_once(
        tx.connection,
        store.movement,
        {
            "id": event.movement_id,
            "product_id": event.product_id,
            "reason": event.reason.value,
            "quantity": event.quantity,
            "on_hand": event.on_hand,
            "origin": event.origin,
            "note": "",
            "override_reason": event.override_reason,
            "actor": store.RECOVERED,
            "at": event.moved_at,
        },
    )
    if new:
        tx.connection.execute(
            sa.update(store.product)
            .where(store.product.c.id == event.product_id)
            .values(on_hand=store.product.c.on_hand + event.quantity)
        )
        if event.reason is shop.StockReason.REFUND:
            # Its refund may have come before it: another key.
            tx.connection.execute(
                sa.update(store.refund)
                .where(store.refund.c.id == event.origin)
                .values(goods_returned=True)
            )


def waiting_sale(tx: Transaction, received: Received[shop.PointsPaymentRequested]) -> None:
    event = received.event
    _drop_basket(tx, event.sale_id)
    value = queries.point_value(tx.connection, received.centre, event.requested_at)
    told = bool(event.till_id)
    if told:
        _till(tx, event.till_id, received.centre)
        value = (event.total_cents - event.money_cents) // max(event.points, 1)
    stub = _stub(
        event.sale_id, received.centre, event.till_id or UNKNOWN_TILL, event.requested_at
    ) | {
        "state": State.WAITING.value,
        "points_state": PointsState.REQUESTED.value,
        "household_id": event.household_id,
        "card_id": event.card_id,
        "payment_id": event.payment_id,
        "total_cents": event.total_cents if told else event.points * value,
        "money_cents": event.money_cents,
        "points": event.points,
        "point_value": value,
        "ended_at": None,
    }
    if store.insert_once(tx.connection, store.sale, stub):
        _lines(tx, event.sale_id, event.lines, None)
        limit = WAITING_LIMIT if told else timedelta()
        tx.schedule(TIMEOUT_JOB, event.sale_id, tx.now + limit)


def completed_sale(tx: Transaction, received: Received[shop.SaleCompleted]) -> None:
    event = received.event
    _drop_basket(tx, event.sale_id)
    _till(tx, event.till_id, event.centre_id)
    told = {
        "till_id": event.till_id,
        "state": State.COMPLETED.value,
        "points_state": (PointsState.HELD if event.points else PointsState.NONE).value,
        "household_id": event.household_id,
        "card_id": event.card_id,
        "payment_id": event.payment_id,
        "total_cents": event.total_cents,
        "money_cents": event.money_cents,
        "points": event.points,
        "ended_at": event.sold_at,
    }
    if event.points:
        worth = event.total_cents - event.money_cents
        told["point_value"] = worth // event.points
    row = _stub(event.sale_id, event.centre_id, event.till_id, event.sold_at) | told
    if not store.insert_once(tx.connection, store.sale, row):
        mine = store.sale.c.id == event.sale_id
        tx.connection.execute(sa.update(store.sale).where(mine).values(**told))
    _lines(tx, event.sale_id, event.lines, event.sold_at)
    tx.connection.execute(
        sa.update(store.sale_line)
        .where(store.sale_line.c.sale_id == event.sale_id)
        .values(sold_at=event.sold_at)
    )
    _closed_already(tx, store.sale, event.sale_id, event.till_id, event.sold_at)


def cancelled_sale(tx: Transaction, received: Received[shop.SaleCancelled]) -> None:
    event = received.event
    told = {
        "state": State.CANCELLED.value,
        "points_state": PointsState.RELEASED.value,
        "reason": event.reason[:100],
        "ended_at": event.cancelled_at,
    }
    stub = _stub(event.sale_id, event.centre_id, event.till_id, event.cancelled_at) | told
    if not store.insert_once(tx.connection, store.sale, stub):
        mine = store.sale.c.id == event.sale_id
        tx.connection.execute(sa.update(store.sale).where(mine).values(**told))


def refund(tx: Transaction, received: Received[shop.SaleRefunded]) -> None:
    event = received.event
    on_the_shelf = sa.exists().where(
        store.movement.c.origin == event.refund_id,
        store.movement.c.reason == shop.StockReason.REFUND.value,
    )
    new = store.insert_once(
        tx.connection,
        store.refund,
        {
            "id": event.refund_id,
            "sale_id": event.sale_id,
            "till_id": event.till_id,
            "centre_id": event.centre_id,
            "digest": "",
            "total_cents": event.total_cents,
            "money_cents": event.money_cents,
            "points": event.points,
            "reason": "",
            "goods_returned": tx.connection.scalar(sa.select(on_the_shelf)),
            "actor": store.RECOVERED,
            "refunded_at": event.refunded_at,
        },
    )
    rows: Sequence[Mapping[str, Any]] = [
        {
            "refund_id": event.refund_id,
            "product_id": line.product_id,
            "producer_id": line.producer_id,
            "quantity": line.quantity,
            "amount_cents": line.amount_cents,
            "refunded_at": event.refunded_at,
        }
        for line in event.lines
    ]
    if new:
        upsert(tx.connection, store.refund_line, rows, key=("refund_id", "product_id"))
        _closed_already(tx, store.refund, event.refund_id, event.till_id, event.refunded_at)


def closing(tx: Transaction, received: Received[shop.DayClosed]) -> None:
    event = received.event
    _till(tx, event.till_id, event.centre_id)
    new = store.insert_once(
        tx.connection,
        store.closing,
        {
            "id": event.closing_id,
            "till_id": event.till_id,
            "centre_id": event.centre_id,
            "day": event.day,
            "sales": event.sales,
            "refunds": event.refunds,
            "money_cents": event.money_cents,
            "counted_cents": event.counted_cents,
            "points": event.points,
            "actor": store.RECOVERED,
            "closed_at": event.closed_at,
        },
    )
    if not new:
        return
    ends = {store.sale: store.sale.c.ended_at, store.refund: store.refund.c.refunded_at}
    for table, open_rows in queries.open_rows(event.till_id):
        tx.connection.execute(
            sa.update(table)
            .where(open_rows, ends[table] <= event.closed_at)
            .values(closing_id=event.closing_id)
        )


_COUNTED = {store.sale: store.closing.c.sales, store.refund: store.closing.c.refunds}
"""How many of each a closing took."""


def _closed_already(
    tx: Transaction, table: sa.Table, row_id: str, till_id: str, ended_at: datetime
) -> None:
    """A closing that came before what it took, since a till is another key: the first one that was
    not earlier. One that has all that it counted takes no more, so those of the backup stay as they
    are."""
    closing = store.closing
    has = (
        sa.select(sa.func.count())
        .where(table.c.till_id == till_id, table.c.closing_id == closing.c.id)
        .scalar_subquery()
    )
    first = (
        sa.select(closing.c.id)
        .where(
            closing.c.till_id == till_id,
            closing.c.closed_at >= ended_at,
            has < _COUNTED[table],
        )
        .order_by(closing.c.closed_at)
        .limit(1)
    )
    tx.connection.execute(
        sa.update(table)
        .where(table.c.id == row_id, table.c.closing_id.is_(None))
        .values(closing_id=tx.connection.scalar(first))
    )


def _drop_basket(tx: Transaction, sale_id: str) -> None:
    """What the backup still has in the basket was sold. It would carry the id of a sale that is
    there, or of which goods have moved, and that answers for whatever is scanned into it next."""
    tx.connection.execute(sa.delete(store.basket).where(store.basket.c.sale_id == sale_id))


def _lines(
    tx: Transaction, sale_id: str, lines: Sequence[shop.SaleLine], sold_at: datetime | None
) -> None:
    for place, line in enumerate(lines):
        known = store.row_of(tx.connection, store.product, line.product_id)
        store.insert_once(
            tx.connection,
            store.sale_line,
            {
                "sale_id": sale_id,
                "product_id": line.product_id,
                "place": place,
                "producer_id": line.producer_id,
                "fee_percent": queries.fees(tx.connection, [line.producer_id]).get(
                    line.producer_id, 0
                ),
                "name": known["name"] if known is not None else line.product_id,
                "category": line.category,
                "quantity": line.quantity,
                "price_cents": line.amount_cents // line.quantity,
                "amount_cents": line.amount_cents,
                "sold_at": sold_at,
            },
        )


def _till(tx: Transaction, till_id: str, centre_id: str) -> None:
    store.insert_once(
        tx.connection,
        store.till,
        {"id": till_id, "centre_id": centre_id, "name": till_id, "created_at": tx.now},
    )


def _stub(sale_id: str, centre_id: str, till_id: str, at: object) -> dict[str, Any]:
    """A sale of which nothing is known; no digest tells that its content was forgotten."""
    return {
        "id": sale_id,
        "till_id": till_id,
        "centre_id": centre_id,
        "digest": "",
        "state": State.CANCELLED.value,
        "points_state": PointsState.NONE.value,
        "reason": "",
        "household_id": "",
        "card_id": "",
        "payment_id": "",
        "total_cents": 0,
        "money_cents": 0,
        "points": 0,
        "point_value": 1,
        "tendered_cents": None,
        "override_reason": "",
        "actor": store.RECOVERED,
        "opened_at": at,
        "ended_at": at,
    }


RECOVER: dict[type[Event], Callable[[Transaction, Received[Any]], None]] = {
    shop.ProducerRegistered: producer,
    shop.TillOpened: till,
    shop.PointValueSet: point_value,
    shop.ProductChanged: product,
    shop.StockMoved: movement,
    shop.PointsPaymentRequested: waiting_sale,
    shop.SaleCompleted: completed_sale,
    shop.SaleCancelled: cancelled_sale,
    shop.SaleRefunded: refund,
    shop.DayClosed: closing,
}
