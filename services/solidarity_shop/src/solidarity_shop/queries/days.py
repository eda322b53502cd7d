"""Tills, closings and the value of a point."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from runtime.prepared import Prepared
from solidarity_shop import store
from solidarity_shop.domain.amounts import DEFAULT_POINT_VALUE
from solidarity_shop.domain.closing import Takings
from solidarity_shop.domain.sale import State
from solidarity_shop.views import ClosingView, PointValueView, TakingsView, TillView
from web.paging import Page, Paging

TILL, SALE, REFUND, CLOSING = store.till, store.sale, store.refund, store.closing


def till_view(row: store.Row) -> TillView:
    return TillView(**{name: row[name] for name in TillView.model_fields})


def tills(connection: sa.Connection, centre: str, paging: Paging) -> Page[TillView]:
    """The tills of a centre (of all when it is ""), by name."""
    statement = sa.select(TILL)
    if centre:
        statement = statement.where(TILL.c.centre_id == centre)
    return paging.read(
        connection,
        statement,
        by=(TILL.c.name, TILL.c.id),
        show=lambda row: till_view(row._mapping),
    )


def value_begun(centre: sa.ColumnElement[str]) -> sa.Select[tuple[int]]:
    """The last value of a point that has begun in a centre by the parameter ``at``."""
    value = store.point_value.c
    return (
        sa.select(value.cents)
        .where(value.centre_id == centre, value.from_time <= sa.bindparam("at"))
        .order_by(value.from_time.desc())
        .limit(1)
    )


_POINT_VALUE = Prepared(value_begun(sa.bindparam("centre")))


def point_value(connection: sa.Connection, centre_id: str, at: datetime) -> int:
    """Cents that a point is worth in a centre at a moment: the last value that has begun."""
    value = _POINT_VALUE.scalar(connection, centre=centre_id, at=at)
    return DEFAULT_POINT_VALUE if value is None else int(value)


def point_values(connection: sa.Connection, centre: str, paging: Paging) -> Page[PointValueView]:
    """All values, past and to come, newest first."""
    table = store.point_value
    statement = sa.select(table)
    if centre:
        statement = statement.where(table.c.centre_id == centre)
    return paging.read(
        connection,
        statement,
        by=(table.c.from_time, table.c.centre_id),
        show=lambda row: PointValueView(
            centre_id=row.centre_id, cents=row.cents, from_time=row.from_time
        ),
        newest_first=True,
    )


def open_rows(till_id: str) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """What the next closing of a till takes: completed sales, and refunds, not closed yet."""
    return [
        (
            SALE,
            sa.and_(
                SALE.c.till_id == till_id,
                SALE.c.closing_id.is_(None),
                SALE.c.state == State.COMPLETED.value,
            ),
        ),
        (REFUND, sa.and_(REFUND.c.till_id == till_id, REFUND.c.closing_id.is_(None))),
    ]


def takings(connection: sa.Connection, till_id: str, closing_id: str | None) -> Takings:
    """What belongs to a closing, or to the next one when it is None."""

    def sums(table: sa.Table, *more: sa.ColumnElement[bool]) -> tuple[int, int, int]:
        count, money, points = connection.execute(
            sa.select(
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(table.c.money_cents), 0),
                sa.func.coalesce(sa.func.sum(table.c.points), 0),
            ).where(
                table.c.till_id == till_id,
                table.c.closing_id.is_(None)
                if closing_id is None
                else table.c.closing_id == closing_id,
                *more,
            )
        ).one()
        return int(count), int(money), int(points)

    sales, sold, points_in = sums(SALE, SALE.c.state == State.COMPLETED.value)
    refunds, refunded, points_back = sums(REFUND)
    return Takings(
        sales=sales,
        refunds=refunds,
        sold_cents=sold,
        refunded_cents=refunded,
        points_in=points_in,
        points_back=points_back,
    )


def open_takings(connection: sa.Connection, till_id: str) -> TakingsView:
    """What the till has taken since its last closing, and what still waits."""
    now = takings(connection, till_id, None)
    waiting = connection.scalar(
        sa.select(sa.func.count()).where(
            SALE.c.till_id == till_id,
            SALE.c.closing_id.is_(None),
            SALE.c.state == State.WAITING.value,
        )
    )
    return TakingsView(
        till_id=till_id,
        sales=now.sales,
        refunds=now.refunds,
        money_cents=now.money_cents,
        points=now.points,
        waiting=int(waiting or 0),
    )


def closing_view(row: store.Row) -> ClosingView:
    return ClosingView(
        difference_cents=row["counted_cents"] - row["money_cents"],
        **{n: row[n] for n in ClosingView.model_fields if n != "difference_cents"},
    )


def closings(connection: sa.Connection, till_id: str, paging: Paging) -> Page[ClosingView]:
    """The closings of a till, newest first."""
    return paging.read(
        connection,
        sa.select(CLOSING).where(CLOSING.c.till_id == till_id),
        by=(CLOSING.c.day, CLOSING.c.id),
        show=lambda row: closing_view(row._mapping),
        newest_first=True,
    )
