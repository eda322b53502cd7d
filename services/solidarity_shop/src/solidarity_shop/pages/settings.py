"""What a point is worth, dated."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from solidarity_shop import commands, queries
from solidarity_shop.access import centre_of
from solidarity_shop.pages.words import Lead
from solidarity_shop.views import PointValueView
from web.call import Call
from web.forms import Day, Euros, Form
from web.paging import Page, Paged, Paging

router = APIRouter()


class PointValueForm(BaseModel):
    cents: Annotated[Euros, Field(ge=1, le=1000)]
    from_day: Day | None = None


@router.get("/point-value")
async def point_value(call: Lead, paging: Paged) -> Response:
    return await _show(call, call.blank(PointValueForm), paging)


@router.post("/point-value")
async def set_point_value(call: Lead) -> Response:
    """From the beginning of a day in the centre's zone; at once when no later day is named."""
    form = await call.form(PointValueForm)
    if form.ok:
        centre_id = call.centre_or(None)
        zone = ZoneInfo(await call.query(lambda c: queries.time_zone(c, centre_id)))
        day = form.data.from_day
        begins = None
        if day is not None and day != call.parts.clock.now().astimezone(zone).date():
            begins = datetime.combine(day, time(), zone)
        await form.command(
            lambda tx: commands.set_point_value(
                tx, centre_id=centre_id, cents=form.data.cents, from_time=begins
            )
        )
    if form.errors:
        if "from_time" in form.errors:
            form.errors["from_day"] = form.errors.pop("from_time")
        return await _show(call, form, Paging())
    return call.redirect("/shop/point-value")


async def _show(call: Call, form: Form[PointValueForm], paging: Paging) -> Response:
    centre = centre_of(call)
    now = call.parts.clock.now()

    def found(connection: sa.Connection) -> tuple[int, Page[PointValueView]]:
        value = queries.point_value(connection, centre, now)
        return value, queries.point_values(connection, centre, paging)

    value, page = await call.query(found)
    return call.render("shop/point_value.html", form.status, value=value, page=page, form=form)
