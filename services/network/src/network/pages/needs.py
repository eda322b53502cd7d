"""Needs: record one, and the counts by zone and area as a table and a picture of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from network import commands, queries
from network.callers import who
from network.heat import heat_table
from network.models import NewNeed
from network.pages.shared import Reads, Records, show
from web import Call, Form

router = APIRouter()


@router.get("/network/needs")
async def counted(
    call: Reads,
    year: Annotated[int | None, Query(ge=2000, le=2999)] = None,
    household_id: Annotated[str, Query(alias="household", max_length=64)] = "",
) -> Response:
    """The counts of a year, and the form of a need."""
    return await _page(call, call.blank(NewNeed, {"household_id": household_id}), year)


@router.post("/network/needs")
async def record(call: Records) -> Response:
    """Record a need, and go back to the counts."""
    form = await call.form(NewNeed)
    if form.ok:
        me, centre = who(call), call.centre_or(None)
        made = await form.command(
            lambda tx: commands.record_need(tx, me, form.data, centre_id=centre)
        )
        if made is not None:
            return call.redirect("/network/needs?recorded=1")
    return await _page(call, form, None)


async def _page(call: Call, form: Form[Any], year: int | None) -> Response:
    centre, now = call.centre_or(None), call.parts.clock.now()
    counts = await call.query(lambda c: queries.need_counts(c, centre, now, year))
    return show(
        call,
        "needs.html",
        form.status,
        form=form,
        counts=counts,
        picture=heat_table(counts, call.say, mirrored=call.to.direction == "rtl"),
        zones=await call.query(lambda c: queries.zones(c, centre)),
        recorded=call.request.query_params.get("recorded") == "1",
    )
