"""What a producer sees: what was sold of theirs, today and this month. Nobody else's, no buyers."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import APIRouter, Depends
from starlette.responses import Response

from runtime.refusals import N_, NotFound
from solidarity_shop import queries, store
from solidarity_shop.views import ProducerSalesView, ProducerView
from web.auth import allow
from web.call import Call
from web.roles import Role

router = APIRouter()

Producer = Annotated[Call, Depends(allow(Role.PRODUCER))]
DAY = timedelta(days=1)


@router.get("/producer")
async def producer(call: Producer) -> Response:
    """Today and this month by the calendar of the producer's centre."""
    now = call.parts.clock.now()

    def found(
        connection: sa.Connection,
    ) -> tuple[ProducerView, ProducerSalesView, ProducerSalesView]:
        row = store.row_of(connection, store.producer, call.caller.producer_id)
        if row is None or call.centre not in ("", row["centre_id"]):
            raise NotFound(
                "producer.unknown",
                N_("Your account is not linked to a producer of the shop."),
                N_("Ask the coordinator of your centre."),
            )
        zone = ZoneInfo(queries.time_zone(connection, row["centre_id"]))
        today = datetime.combine(now.astimezone(zone).date(), time(), zone)
        until = now + DAY
        return (
            queries.producer_view(row),
            queries.producer_sales(connection, row["id"], today, until),
            queries.producer_sales(connection, row["id"], today.replace(day=1), until),
        )

    who, today, month = await call.query(found)
    return call.render("shop/producer.html", producer=who, today=today, month=month, when=now)
