"""What was sold of a producer: its own page."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from contracts.shop import StockReason
from solidarity_shop import store
from solidarity_shop.views import ProducerSalesView, SoldView

LINE, BACK, MOVEMENT = store.sale_line, store.refund_line, store.movement


def producer_sales(
    connection: sa.Connection, producer_id: str, since: datetime, until: datetime
) -> ProducerSalesView:
    """Sold between two moments less what came back on the shelf in that time, by product.

    The price is due unless the goods are returned (art. 1556 c.c.), so a refund of goods that are
    not on the shelf again is the shop's loss and takes nothing off. The movement of the stock tells
    which they are, also in a store that was put back from events.

    The fee is that of the day of the sale: round(amount x % / 100), half cents up. Amounts are the
    shop's view of the day; what is due is settled later.
    """
    sold = connection.execute(
        sa.select(
            LINE.c.product_id,
            LINE.c.fee_percent,
            sa.func.max(LINE.c.name),
            sa.func.sum(LINE.c.quantity),
            sa.func.sum(LINE.c.amount_cents),
        )
        .where(LINE.c.producer_id == producer_id, LINE.c.sold_at >= since, LINE.c.sold_at < until)
        .group_by(LINE.c.product_id, LINE.c.fee_percent)
    ).all()
    back = connection.execute(
        sa.select(
            BACK.c.product_id,
            LINE.c.fee_percent,
            sa.func.max(LINE.c.name),
            -sa.func.sum(BACK.c.quantity),
            -sa.func.sum(BACK.c.amount_cents),
        )
        .join(store.refund, store.refund.c.id == BACK.c.refund_id)
        .join(
            LINE,
            sa.and_(
                LINE.c.sale_id == store.refund.c.sale_id, LINE.c.product_id == BACK.c.product_id
            ),
        )
        .join(
            MOVEMENT,
            sa.and_(
                MOVEMENT.c.origin == BACK.c.refund_id,
                MOVEMENT.c.product_id == BACK.c.product_id,
                MOVEMENT.c.reason == StockReason.REFUND.value,
            ),
        )
        .where(
            BACK.c.producer_id == producer_id,
            BACK.c.refunded_at >= since,
            BACK.c.refunded_at < until,
        )
        .group_by(BACK.c.product_id, LINE.c.fee_percent)
    ).all()
    names: dict[str, str] = {}
    totals: dict[str, list[int]] = {}
    for product_id, percent, name, quantity, amount in [*sold, *back]:
        names.setdefault(product_id, name)
        total = totals.setdefault(product_id, [0, 0, 0])
        total[0] += int(quantity)
        total[1] += int(amount)
        total[2] += _fee(int(amount), int(percent))
    lines = [
        SoldView(
            product_id=product_id,
            name=names[product_id],
            quantity=quantity,
            amount_cents=amount,
            fee_cents=fee,
        )
        for product_id, (quantity, amount, fee) in totals.items()
    ]
    lines.sort(key=lambda line: (store.name_key(line.name), line.product_id))
    amount = sum(line.amount_cents for line in lines)
    fee = sum(line.fee_cents for line in lines)
    return ProducerSalesView(
        lines=lines,
        quantity=sum(line.quantity for line in lines),
        amount_cents=amount,
        fee_cents=fee,
        due_cents=amount - fee,
    )


def _fee(amount_cents: int, percent: int) -> int:
    """Whole cents, half a cent rounded away from zero."""
    sign = -1 if amount_cents < 0 else 1
    return sign * ((abs(amount_cents) * percent + 50) // 100)
