"""Tills, what a point is worth, and the end of the day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from contracts.shop import DayClosed, PointValueSet, TillOpened
from messaging import Transaction
from runtime.refusals import N_, Refusal
from solidarity_shop import queries, store
from solidarity_shop.commands import known
from solidarity_shop.domain.closing import day_of
from solidarity_shop.views import ClosingView, PointValueView, TillView


def open_till(tx: Transaction, *, centre_id: str, name: str, till_id: str = "") -> TillView:
    """A till of a centre. The same id and content again: the same answer."""
    row: dict[str, Any] = {
        "id": till_id or tx.ids.new(),
        "centre_id": centre_id,
        "name": name.strip(),
        "created_at": tx.now,
    }
    if not store.insert_once(tx.connection, store.till, row):
        there = store.row_of(tx.connection, store.till, row["id"])
        if there is None or (there["centre_id"], there["name"]) != (centre_id, row["name"]):
            raise known.other_content("till.repeated_with_other_content")
        return queries.till_view(there)
    tx.emit(
        TillOpened(till_id=row["id"], centre_id=centre_id, name=row["name"], opened_at=tx.now),
        centre=centre_id,
    )
    return queries.till_view(row)


def set_point_value(
    tx: Transaction, *, centre_id: str, cents: int, from_time: datetime | None = None
) -> PointValueView:
    """From a moment on a point is worth this. Never in the past: sales of then stay as they are."""
    begins = from_time or tx.now
    if begins < tx.now:
        raise Refusal(
            "point_value.in_the_past",
            N_("The value of a point cannot be changed for the past."),
            N_("Choose today or a later day."),
            field="from_time",
        )
    event = PointValueSet(centre_id=centre_id, cents=cents, from_time=begins, set_at=tx.now)
    store.put_point_value(tx.connection, event)
    tx.emit(event, centre=centre_id)
    return PointValueView(centre_id=centre_id, cents=cents, from_time=begins)


def close_day(
    tx: Transaction, till_id: str, *, centre: str, counted_cents: int, closing_id: str = ""
) -> ClosingView:
    """Count a till: once a day. All that it completed since its last closing belongs to this one.

    A sale that is completed at the same moment is either in it, with its money, or in the next: its
    row is marked and then summed.
    """
    known.till(tx.connection, till_id, centre)
    till = store.locked_row(tx.connection, store.till, till_id)
    assert till is not None
    if closing_id and (there := store.row_of(tx.connection, store.closing, closing_id)):
        if (there["till_id"], there["counted_cents"]) != (till_id, counted_cents):
            raise known.other_content("closing.repeated_with_other_content")
        return queries.closing_view(there)
    day = day_of(tx.now, queries.time_zone(tx.connection, till["centre_id"]))
    closing_id = closing_id or tx.ids.new()
    before = tx.connection.scalar(
        sa.select(store.closing.c.id).where(
            store.closing.c.till_id == till_id, store.closing.c.day == day
        )
    )
    if before is not None:
        raise Refusal(
            "day.closed_already",
            N_("This till was closed today already."),
            N_("What is sold from now on belongs to the next closing, tomorrow."),
        )
    for table, open_rows in queries.open_rows(till_id):
        tx.connection.execute(sa.update(table).where(open_rows).values(closing_id=closing_id))
    takings = queries.takings(tx.connection, till_id, closing_id)
    row = {
        "id": closing_id,
        "till_id": till_id,
        "centre_id": till["centre_id"],
        "day": day,
        "sales": takings.sales,
        "refunds": takings.refunds,
        "money_cents": takings.money_cents,
        "counted_cents": counted_cents,
        "points": takings.points,
        "actor": tx.actor,
        "closed_at": tx.now,
    }
    tx.connection.execute(sa.insert(store.closing).values(row))
    tx.emit(
        DayClosed(
            till_id=till_id,
            centre_id=till["centre_id"],
            closing_id=closing_id,
            day=day,
            sales=takings.sales,
            refunds=takings.refunds,
            money_cents=takings.money_cents,
            counted_cents=counted_cents,
            points=takings.points,
            closed_at=tx.now,
        ),
        centre=till["centre_id"],
    )
    return queries.closing_view(row)
