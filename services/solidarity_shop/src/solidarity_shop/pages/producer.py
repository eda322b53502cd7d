"""What was sold of a producer, by months: its own page, with today's sales, and the same for those
who lead. Nobody else's, no buyers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from runtime.refusals import N_, NotFound
from solidarity_shop import queries, store
from solidarity_shop.access import centre_of
from solidarity_shop.api.models import LINE
from solidarity_shop.commands import known
from solidarity_shop.domain.months import Month
from solidarity_shop.pages.words import Lead, RowId
from solidarity_shop.views import ProducerSalesView, ProducerView
from web.auth import allow
from web.call import Call
from web.roles import Role

router = APIRouter()

Producer = Annotated[Call, Depends(allow(Role.PRODUCER))]
MonthName = Annotated[str, Query(max_length=120, pattern=LINE)]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Seen:
    """A month of a producer by the calendar of its centre; ``today`` only in the one that runs.

    ``before`` and ``after`` are the months beside it: from the one in which the producer was
    registered to the one that runs.
    """

    month: Month
    before: Month | None
    after: Month | None
    sales: ProducerSalesView
    today: ProducerSalesView | None


@router.get("/producer")
async def producer(call: Producer, month: MonthName = "") -> Response:
    """What was sold of mine."""

    def found(connection: sa.Connection) -> tuple[ProducerView, Seen]:
        row = store.row_of(connection, store.producer, call.caller.producer_id)
        if row is None or not known.of_centre(row, call.centre):
            raise NotFound(
                "producer.unknown",
                N_("Your account is not linked to a producer of the shop."),
                N_("Ask the coordinator of your centre."),
            )
        return queries.producer_view(row), _seen(connection, row, month, call.parts.clock.now())

    who, seen = await call.query(found)
    return call.render("shop/producer.html", producer=who, seen=seen, mine=True)


@router.get("/producers/{producer_id}")
async def producer_of_the_shop(call: Lead, producer_id: RowId, month: MonthName = "") -> Response:
    """What was sold of a producer, for those who settle with it."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> tuple[ProducerView, Seen]:
        row = store.row_of(connection, store.producer, producer_id)
        if row is None or not known.of_centre(row, centre):
            raise NotFound(
                "producer.unknown",
                N_("This producer does not exist."),
                N_("Look for it in the list."),
            )
        return queries.producer_view(row), _seen(connection, row, month, call.parts.clock.now())

    who, seen = await call.query(found)
    return call.render("shop/producer.html", producer=who, seen=seen, mine=False)


def _seen(connection: sa.Connection, row: store.Row, name: str, now: datetime) -> Seen:
    """The month of this name, the one that runs when it is ""."""
    zone = ZoneInfo(queries.time_zone(connection, row["centre_id"]))
    today = now.astimezone(zone).date()
    runs = Month.of(today)
    month = Month.named(name, latest=runs) if name else runs

    def sold(since: datetime, until: datetime) -> ProducerSalesView:
        return queries.producer_sales(connection, row["id"], since, until)

    day = datetime.combine(today, time(), zone)
    registered = Month.of(row["registered_at"].astimezone(zone).date())
    return Seen(
        month=month,
        before=month.before if month > registered else None,
        after=month.after if month < runs else None,
        sales=sold(*month.bounds(zone)),
        today=sold(day, day + DAY) if month == runs else None,
    )
