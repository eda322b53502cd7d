"""What a coordinator looks at in the morning: what waits for somebody, and the centre's quarter.

Read from the read models `figures` and `matters`, a few rows a day however large the centre is (of
a till one for each day on which it sold), and from `stock_seen`, two for each product of its shop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from cards import store

WEEKS = 13
"""A quarter."""

FAILED_WITHIN = timedelta(days=7)
"""Messages that could not be delivered are named for a week."""


@dataclass(frozen=True)
class Waiting:
    """How many things wait for somebody, by what they are."""

    late_referrals: int
    """Nobody has answered in time."""
    asked_referrals: int
    """An answer is owed, and there is time."""
    registers: int
    """Sessions are over and have no register."""
    offers: int
    """Places that are kept for families run out before the day is over."""
    tills: int
    """Tills sold on an earlier day and were not counted since, whatever they sell today."""
    stock: int
    """Products that are for sale run out: what is on hand is their minimum or below."""
    failed_messages: int

    @property
    def nothing(self) -> bool:
        return not any(vars(self).values())


@dataclass(frozen=True)
class Quarter:
    """Figures by week, the oldest first; a week is named by its Monday."""

    weeks: list[date]
    figures: Mapping[str, list[int]]


def waiting(connection: sa.Connection, centre_id: str, now: datetime, zone: ZoneInfo) -> Waiting:
    """What waits in a centre ("": in all of them) at this moment; days end in `zone`."""
    matter, local = store.matter, now.astimezone(zone)
    midnight = datetime.combine(local.date(), time(), zone)
    tomorrow = datetime.combine(local.date() + timedelta(days=1), time(), zone)
    wanted = sa.select(
        matter.c.kind,
        sa.func.count().filter(matter.c.due < now),
        sa.func.count().filter(matter.c.due.between(now, tomorrow)),
        sa.func.count(),
    ).where(matter.c.is_open.is_(True))
    figure = store.day_figure
    failed = sa.select(sa.func.sum(figure.c.figure)).where(
        figure.c.kind == "messages_failed", figure.c.day > (now - FAILED_WITHIN).date()
    )
    sold, closed = store.till_day_seen, store.till_closed_seen
    tills = (
        sa.select(sa.func.count(sold.c.till_id.distinct()))
        .select_from(sold.outerjoin(closed, closed.c.till_id == sold.c.till_id))
        .where(
            sold.c.sold_at < midnight,
            sa.or_(closed.c.closed_at.is_(None), closed.c.closed_at < sold.c.sold_at),
        )
    )
    product, stock = store.product_seen, store.stock_seen
    low = (
        sa.select(sa.func.count())
        .select_from(product.join(stock, stock.c.product_id == product.c.product_id))
        .where(product.c.sellable.is_(True), stock.c.on_hand <= product.c.minimum)
    )
    if centre_id:
        tills = tills.where(sold.c.centre_id == centre_id)
        low = low.where(product.c.centre_id == centre_id)
        wanted = wanted.where(matter.c.centre_id == centre_id)
        failed = failed.where(figure.c.centre_id == centre_id)
    found = {row[0]: row[1:] for row in connection.execute(wanted.group_by(matter.c.kind))}
    none = (0, 0, 0)
    late, _, asked = found.get("referral", none)
    return Waiting(
        late_referrals=late,
        asked_referrals=asked - late,
        registers=found.get("register", none)[0],
        offers=found.get("offer", none)[1],
        tills=int(connection.scalar(tills) or 0),
        stock=int(connection.scalar(low) or 0),
        failed_messages=int(connection.scalar(failed) or 0),
    )


def quarter(connection: sa.Connection, centre_id: str, today: date) -> Quarter:
    """The figures of the last weeks of a centre ("": of all of them), with the one of today."""
    first = today - timedelta(days=today.weekday(), weeks=WEEKS - 1)
    weeks = [first + timedelta(weeks=n) for n in range(WEEKS)]
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * WEEKS)
    figure, register = store.day_figure, store.register_seen
    by_day = (
        sa.select(figure.c.day, figure.c.kind, sa.func.sum(figure.c.figure))
        .where(figure.c.day >= first)
        .group_by(figure.c.day, figure.c.kind)
    )
    present = (
        sa.select(register.c.day, sa.literal("present"), sa.func.sum(register.c.present))
        .where(register.c.day >= first)
        .group_by(register.c.day)
    )
    if centre_id:
        by_day = by_day.where(figure.c.centre_id == centre_id)
        present = present.where(register.c.centre_id == centre_id)
    for query in (by_day, present):
        for day, kind, count in connection.execute(query):
            week = (day - first).days // 7
            if week < WEEKS:
                sums[kind][week] += int(count)
    return Quarter(weeks, sums)
