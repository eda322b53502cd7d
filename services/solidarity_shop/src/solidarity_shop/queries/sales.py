"""Sales, refunds and open baskets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from contracts.shop import StockReason
from runtime.refusals import N_, NotFound
from solidarity_shop import store
from solidarity_shop.domain.amounts import Paid, points_for
from solidarity_shop.domain.sale import PointsState, State
from solidarity_shop.queries import cards, days
from solidarity_shop.views import (
    BasketLineView,
    BasketView,
    PaymentView,
    RefundView,
    SaleLineView,
    SaleView,
)
from web.paging import Page, Paging

SALE, LINE, REFUND, BACK = store.sale, store.sale_line, store.refund, store.refund_line


def sale_lines(connection: sa.Connection, sale_id: str) -> Sequence[sa.RowMapping]:
    """The lines of a sale in the order of the basket."""
    return (
        connection.execute(sa.select(LINE).where(LINE.c.sale_id == sale_id).order_by(LINE.c.place))
        .mappings()
        .all()
    )


def _refund_lines() -> sa.Select[Any]:
    """Lines of refunds, each with what the sale says of its product."""
    return (
        sa.select(BACK, LINE.c.name, LINE.c.category, LINE.c.price_cents, REFUND.c.sale_id)
        .join(REFUND, REFUND.c.id == BACK.c.refund_id)
        .join(
            LINE,
            sa.and_(LINE.c.sale_id == REFUND.c.sale_id, LINE.c.product_id == BACK.c.product_id),
        )
        .order_by(LINE.c.place)
    )


def refund_lines(connection: sa.Connection, refund_id: str) -> Sequence[sa.RowMapping]:
    """The lines of a refund in the order of the basket."""
    statement = _refund_lines().where(BACK.c.refund_id == refund_id)
    return connection.execute(statement).mappings().all()


def refunded_quantities(connection: sa.Connection, sale_id: str) -> dict[str, int]:
    """Pieces given back so far, by product."""
    found = connection.execute(
        sa.select(BACK.c.product_id, sa.func.sum(BACK.c.quantity))
        .join(REFUND, REFUND.c.id == BACK.c.refund_id)
        .where(REFUND.c.sale_id == sale_id)
        .group_by(BACK.c.product_id)
    )
    return {product_id: int(quantity) for product_id, quantity in found}


def refunded_amounts(connection: sa.Connection, sale_id: str) -> tuple[int, Paid]:
    """The worth in cents of what came back so far, and what was paid back for it."""
    worth, money, points = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(REFUND.c.total_cents), 0),
            sa.func.coalesce(sa.func.sum(REFUND.c.money_cents), 0),
            sa.func.coalesce(sa.func.sum(REFUND.c.points), 0),
        ).where(REFUND.c.sale_id == sale_id)
    ).one()
    return int(worth), Paid(int(money), int(points))


def taken_by_sale(connection: sa.Connection, sale_id: str) -> dict[str, int]:
    """Pieces that the movements of a sale still hold, by product: to be put back."""
    table = store.movement
    found = connection.execute(
        sa.select(table.c.product_id, sa.func.sum(table.c.quantity))
        .where(table.c.origin == sale_id, table.c.reason == StockReason.SALE.value)
        .group_by(table.c.product_id)
    )
    return {product_id: -int(quantity) for product_id, quantity in found if quantity < 0}


def products_taken(connection: sa.Connection, sale_ids: Iterable[str]) -> set[str]:
    """The products of several sales, to lock them together."""
    return set(
        connection.scalars(
            sa.select(LINE.c.product_id).where(LINE.c.sale_id.in_(sorted(set(sale_ids))))
        )
    )


def new_sale(row: store.Row, lines: Sequence[store.Row]) -> SaleView:
    """A sale that this transaction has just written: nothing has to be read again."""
    return _sale_view(row, [_line_view(line) for line in lines], [])


def refund_of(connection: sa.Connection, refund_id: str) -> RefundView:
    """One refund that is known to exist."""
    row = store.row_of(connection, REFUND, refund_id)
    assert row is not None
    return _refund_view(row, refund_lines(connection, refund_id))


def _refund_view(row: store.Row, lines: Sequence[store.Row]) -> RefundView:
    return RefundView(
        lines=[_line_view(line) for line in lines],
        **{name: row[name] for name in RefundView.model_fields if name != "lines"},
    )


def _line_view(row: store.Row, refunded: int = 0) -> SaleLineView:
    return SaleLineView(
        product_id=row["product_id"],
        name=row["name"],
        category=row["category"],
        quantity=row["quantity"],
        price_cents=row["price_cents"],
        amount_cents=row["amount_cents"],
        refunded=refunded,
    )


def sale_of(connection: sa.Connection, sale_id: str, centre: str = "") -> SaleView:
    """One sale with lines, payments and refunds, or "sale.unknown"."""
    row = store.row_of(connection, SALE, sale_id)
    if row is None or (centre and row["centre_id"] != centre):
        raise NotFound(
            "sale.unknown", N_("This sale does not exist."), N_("Look in the recent sales.")
        )
    return _whole(connection, [row])[0]


def _whole(connection: sa.Connection, rows: Sequence[store.Row]) -> list[SaleView]:
    """Sales with their lines and refunds: three queries, however many there are."""
    ids = [row["id"] for row in rows]
    lines: dict[str, list[store.Row]] = defaultdict(list)
    for line in connection.execute(
        sa.select(LINE).where(LINE.c.sale_id.in_(ids)).order_by(LINE.c.place)
    ).mappings():
        lines[line["sale_id"]].append(line)
    refunded: Counter[tuple[str, str]] = Counter()
    back: dict[str, list[store.Row]] = defaultdict(list)
    for line in connection.execute(_refund_lines().where(REFUND.c.sale_id.in_(ids))).mappings():
        refunded[line["sale_id"], line["product_id"]] += line["quantity"]
        back[line["refund_id"]].append(line)
    refunds: dict[str, list[RefundView]] = defaultdict(list)
    for refund in connection.execute(
        sa.select(REFUND)
        .where(REFUND.c.sale_id.in_(ids))
        .order_by(REFUND.c.refunded_at, REFUND.c.id)
    ).mappings():
        refunds[refund["sale_id"]].append(_refund_view(refund, back[refund["id"]]))
    return [
        _sale_view(
            row,
            [_line_view(line, refunded[sale_id, line["product_id"]]) for line in lines[sale_id]],
            refunds[sale_id],
        )
        for sale_id, row in zip(ids, rows, strict=True)
    ]


def _sale_view(row: store.Row, lines: list[SaleLineView], refunds: list[RefundView]) -> SaleView:
    payments = []
    if row["money_cents"]:
        payments.append(PaymentView(method="cash", amount_cents=row["money_cents"]))
    if row["points"]:
        payments.append(PaymentView(method="points", points=row["points"]))
    tendered = row["tendered_cents"]
    return SaleView(
        id=row["id"],
        till_id=row["till_id"],
        centre_id=row["centre_id"],
        state=State(row["state"]),
        points_state=PointsState(row["points_state"]),
        reason=row["reason"],
        household_id=row["household_id"],
        card_id=row["card_id"],
        payment_id=row["payment_id"],
        total_cents=row["total_cents"],
        money_cents=row["money_cents"],
        points=row["points"],
        point_value_cents=row["point_value"],
        tendered_cents=tendered,
        change_cents=None if tendered is None else tendered - row["money_cents"],
        lines=lines,
        payments=payments,
        refunds=refunds,
        override_reason=row["override_reason"],
        opened_at=row["opened_at"],
        ended_at=row["ended_at"],
    )


def recent_sales(
    connection: sa.Connection,
    centre: str,
    paging: Paging,
    *,
    till_id: str = "",
    state: str = "",
) -> Page[SaleView]:
    """Sales, newest first."""
    statement = sa.select(SALE)
    if centre:
        statement = statement.where(SALE.c.centre_id == centre)
    if till_id:
        statement = statement.where(SALE.c.till_id == till_id)
    if state:
        statement = statement.where(SALE.c.state == state)
    page = paging.read(
        connection,
        statement,
        by=(SALE.c.opened_at, SALE.c.id),
        show=lambda row: row._mapping,
        newest_first=True,
    )
    return Page[SaleView](items=_whole(connection, page.items), next=page.next)


def basket_of(
    connection: sa.Connection, till: store.Row, account_id: str, now: datetime
) -> BasketView:
    """What an account is selling at a till, at today's prices; empty when it has not begun."""
    value = days.point_value(connection, till["centre_id"], now)
    basket, line = store.basket, store.basket_line
    row = (
        connection.execute(
            sa.select(basket).where(
                basket.c.till_id == till["id"], basket.c.account_id == account_id
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return BasketView(till_id=till["id"], sale_id="", point_value_cents=value)
    product = store.product
    lines = [
        BasketLineView(
            product_id=found.product_id,
            name=found.name,
            quantity=found.quantity,
            price_cents=found.price_cents,
            amount_cents=found.price_cents * found.quantity,
            on_hand=found.on_hand,
        )
        for found in connection.execute(
            sa.select(
                line.c.product_id,
                line.c.quantity,
                product.c.name,
                product.c.price_cents,
                product.c.on_hand,
            )
            .join(product, product.c.id == line.c.product_id)
            .where(line.c.till_id == till["id"], line.c.account_id == account_id)
            .order_by(line.c.place)
        )
    ]
    card = (
        cards.find_card(connection, till["centre_id"], card_id=row["card_id"])
        if row["card_id"]
        else None
    )
    total = sum(found.amount_cents for found in lines)
    return BasketView(
        till_id=till["id"],
        sale_id=row["sale_id"],
        card=cards.card_view(connection, card) if card is not None else None,
        lines=lines,
        total_cents=total,
        point_value_cents=value,
        points_possible=points_for(total, value).points,
    )
