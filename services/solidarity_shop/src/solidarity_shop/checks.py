"""What always holds in the shop, recomputed from its store alone (`vicinato verify`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from messaging import Check, Difference
from messaging.tables import outbox
from solidarity_shop import store
from solidarity_shop.domain.sale import WAITING_LIMIT, State

LIMIT = 100
"""Differences named per rule: more say nothing new."""
LATE = timedelta(minutes=5)
"""How much later than its limit a sale may be cancelled: jobs run every few seconds."""

SALE, LINE, REFUND, BACK = store.sale, store.sale_line, store.refund, store.refund_line
MOVEMENT, PRODUCT = store.movement, store.product
Rule = Callable[[sa.Connection], Sequence[Difference]]


def stock(connection: sa.Connection) -> list[Difference]:
    """On hand is the sum of the movements; below zero only by an override with its reason; what a
    sale or a refund moved is of one that is there."""
    return [*_on_hand(connection), *_below_zero(connection), *_alone(connection)]


def _on_hand(connection: sa.Connection) -> Iterator[Difference]:
    summed = (
        sa.select(MOVEMENT.c.product_id, sa.func.sum(MOVEMENT.c.quantity).label("quantity"))
        .group_by(MOVEMENT.c.product_id)
        .subquery()
    )
    total = sa.func.coalesce(summed.c.quantity, 0)
    wrong = connection.execute(
        sa.select(PRODUCT.c.id, PRODUCT.c.on_hand, total)
        .outerjoin(summed, summed.c.product_id == PRODUCT.c.id)
        .where(PRODUCT.c.on_hand != total)
        .limit(LIMIT)
    )
    for product_id, on_hand, expected in wrong:
        yield Difference("stock.sum", product_id, f"{int(expected)} on hand", f"{on_hand} on hand")


def _below_zero(connection: sa.Connection) -> Iterator[Difference]:
    bare = connection.execute(
        sa.select(MOVEMENT.c.id, MOVEMENT.c.on_hand)
        .where(MOVEMENT.c.on_hand < 0, MOVEMENT.c.quantity < 0, MOVEMENT.c.override_reason == "")
        .limit(LIMIT)
    )
    for movement_id, on_hand in bare:
        yield Difference(
            "stock.below_zero", movement_id, "an override with its reason", f"{on_hand}"
        )


def _alone(connection: sa.Connection) -> Iterator[Difference]:
    """After a restore: the goods had reached the bus, their sale or refund had not."""
    reason, moved = MOVEMENT.c.reason, sa.func.sum(MOVEMENT.c.quantity)
    alone = connection.execute(
        sa.select(MOVEMENT.c.origin, reason, MOVEMENT.c.product_id, moved)
        .outerjoin(SALE, sa.and_(reason == "sale", SALE.c.id == MOVEMENT.c.origin))
        .outerjoin(REFUND, sa.and_(reason == "refund", REFUND.c.id == MOVEMENT.c.origin))
        .where(reason.in_(["sale", "refund"]), SALE.c.id.is_(None), REFUND.c.id.is_(None))
        .group_by(MOVEMENT.c.origin, reason, MOVEMENT.c.product_id)
        .having(moved != 0)
        .limit(LIMIT)
    )
    for origin, kind, product_id, quantity in alone:
        yield Difference(
            "stock.origin", origin, f"its {kind}", f"{int(quantity):+} of {product_id} without it"
        )


def sales(connection: sa.Connection) -> list[Difference]:
    """Money and the worth of the points are the total, the lines add up to it, and the stock of a
    completed or waiting sale is out, that of a cancelled one is back."""
    return [*_payments(connection), *_lines(connection), *_taken(connection)]


def _payments(connection: sa.Connection) -> Iterator[Difference]:
    worth = SALE.c.money_cents + SALE.c.points * SALE.c.point_value
    for sale_id, total, paid in connection.execute(
        sa.select(SALE.c.id, SALE.c.total_cents, worth)
        .where(SALE.c.total_cents != worth)
        .limit(LIMIT)
    ):
        yield Difference("sale.payments", sale_id, f"{total} cents", f"{paid} cents")
    for (sale_id,) in connection.execute(
        sa.select(SALE.c.id).where((SALE.c.points > 0) != (SALE.c.payment_id != "")).limit(LIMIT)
    ):
        yield Difference("sale.payment_id", sale_id, "one for points, none without", "otherwise")


def _lines(connection: sa.Connection) -> Iterator[Difference]:
    """A sale without a digest came back without its lines, and was cancelled (`recover`)."""
    summed = (
        sa.select(LINE.c.sale_id, sa.func.sum(LINE.c.amount_cents).label("amount"))
        .group_by(LINE.c.sale_id)
        .subquery()
    )
    total = sa.func.coalesce(summed.c.amount, 0)
    for sale_id, expected, found in connection.execute(
        sa.select(SALE.c.id, SALE.c.total_cents, total)
        .outerjoin(summed, summed.c.sale_id == SALE.c.id)
        .where(
            SALE.c.total_cents != total,
            sa.or_(SALE.c.digest != "", SALE.c.state == State.COMPLETED.value),
        )
        .limit(LIMIT)
    ):
        yield Difference("sale.lines", sale_id, f"{expected} cents", f"{int(found)} cents")


def _taken(connection: sa.Connection) -> Iterator[Difference]:
    moved = (
        sa.select(
            MOVEMENT.c.origin,
            MOVEMENT.c.product_id,
            sa.func.sum(MOVEMENT.c.quantity).label("quantity"),
        )
        .where(MOVEMENT.c.reason == "sale")
        .group_by(MOVEMENT.c.origin, MOVEMENT.c.product_id)
        .subquery()
    )
    wanted = sa.case((SALE.c.state == State.CANCELLED.value, 0), else_=LINE.c.quantity)
    out = -sa.func.coalesce(moved.c.quantity, 0)
    for sale_id, expected, found in connection.execute(
        sa.select(SALE.c.id, wanted, out)
        .join(LINE, LINE.c.sale_id == SALE.c.id)
        .outerjoin(
            moved,
            sa.and_(moved.c.origin == SALE.c.id, moved.c.product_id == LINE.c.product_id),
        )
        .where(wanted != out)
        .limit(LIMIT)
    ):
        yield Difference("sale.stock", sale_id, f"{expected} out", f"{int(found)} out")


def waiting(connection: sa.Connection) -> list[Difference]:
    """No sale waits longer than its limit. The time is the latest that this store has seen, since a
    check has no clock."""
    latest = connection.scalar(sa.select(outbox.c.at).order_by(outbox.c.row.desc()).limit(1))
    if latest is None:
        return []
    return overdue(connection, latest)


def overdue(connection: sa.Connection, now: datetime) -> list[Difference]:
    """Sales that wait for longer than they may at a moment."""
    return [
        Difference("sale.waiting", sale_id, "ended after 15 minutes", f"waits since {opened:%F %T}")
        for sale_id, opened in connection.execute(
            sa.select(SALE.c.id, SALE.c.opened_at)
            .where(
                SALE.c.state == State.WAITING.value,
                SALE.c.opened_at < now - WAITING_LIMIT - LATE,
            )
            .order_by(SALE.c.opened_at)
            .limit(LIMIT)
        )
    ]


def refunds(connection: sa.Connection) -> list[Difference]:
    """Never more pieces, money or points back than were bought and paid."""
    found = []
    bought = connection.execute(
        sa.select(LINE.c.sale_id, LINE.c.quantity, sa.func.sum(BACK.c.quantity))
        .join(REFUND, REFUND.c.sale_id == LINE.c.sale_id)
        .join(
            BACK, sa.and_(BACK.c.refund_id == REFUND.c.id, BACK.c.product_id == LINE.c.product_id)
        )
        .group_by(LINE.c.sale_id, LINE.c.product_id, LINE.c.quantity)
        .having(sa.func.sum(BACK.c.quantity) > LINE.c.quantity)
        .limit(LIMIT)
    )
    for sale_id, quantity, back in bought:
        found.append(
            Difference("refund.pieces", sale_id, f"{quantity} at most", f"{int(back)} back")
        )
    paid = connection.execute(
        sa.select(
            SALE.c.id,
            SALE.c.money_cents,
            sa.func.sum(REFUND.c.money_cents),
            SALE.c.points,
            sa.func.sum(REFUND.c.points),
        )
        .join(REFUND, REFUND.c.sale_id == SALE.c.id)
        .group_by(SALE.c.id, SALE.c.money_cents, SALE.c.points, SALE.c.state)
        .having(
            sa.or_(
                sa.func.sum(REFUND.c.money_cents) > SALE.c.money_cents,
                sa.func.sum(REFUND.c.points) > SALE.c.points,
                SALE.c.state != State.COMPLETED.value,
            )
        )
        .limit(LIMIT)
    )
    for sale_id, money, money_back, points, points_back in paid:
        found.append(
            Difference(
                "refund.paid",
                sale_id,
                f"{money} cents and {points} points at most, of a completed sale",
                f"{int(money_back)} cents and {int(points_back)} points back",
            )
        )
    return found


def closings(connection: sa.Connection) -> list[Difference]:
    """A closing's money is that of the sales and refunds that belong to it."""
    closing = store.closing

    def summed(table: sa.Table) -> sa.ScalarSelect[int]:
        return (
            sa.select(sa.func.coalesce(sa.func.sum(table.c.money_cents), 0))
            .where(table.c.till_id == closing.c.till_id, table.c.closing_id == closing.c.id)
            .scalar_subquery()
        )

    money = summed(SALE) - summed(REFUND)
    return [
        Difference("closing.money", closing_id, f"{int(expected)} cents", f"{found} cents")
        for closing_id, found, expected in connection.execute(
            sa.select(closing.c.id, closing.c.money_cents, money)
            .where(closing.c.money_cents != money)
            .limit(LIMIT)
        )
    ]


CHECKS = (
    Check("shop.stock", stock),
    Check("shop.sales", sales),
    Check("shop.waiting", waiting),
    Check("shop.refunds", refunds),
    Check("shop.closings", closings),
)
