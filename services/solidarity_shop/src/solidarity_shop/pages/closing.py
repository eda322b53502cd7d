"""Closing the day of a till."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from solidarity_shop import commands, queries
from solidarity_shop.access import centre_of
from solidarity_shop.commands import known
from solidarity_shop.pages.words import RowId, Seller
from solidarity_shop.views import ClosingView, TakingsView, TillView
from web.call import Call
from web.forms import Euros, Form
from web.paging import Page, Paged, Paging

router = APIRouter()


class ClosingForm(BaseModel):
    counted_cents: Annotated[Euros, Field(ge=0, le=10**9)]


@router.get("/till/{till_id}/closing")
async def closing(till_id: RowId, call: Seller, paging: Paged) -> Response:
    return await _show(call, till_id, call.blank(ClosingForm), paging)


@router.post("/till/{till_id}/closing")
async def close(till_id: RowId, call: Seller) -> Response:
    """What was counted; once a day."""
    centre = centre_of(call)
    form = await call.form(ClosingForm)
    closed = None
    if form.ok:
        closed = await form.attempt(
            call.command(
                lambda tx: commands.close_day(
                    tx, till_id, centre=centre, counted_cents=form.data.counted_cents
                )
            )
        )
    if closed is None:
        return await _show(call, till_id, form, Paging())
    return call.redirect(f"/shop/till/{till_id}/closing")


async def _show(call: Call, till_id: str, form: Form[ClosingForm], paging: Paging) -> Response:
    centre = centre_of(call)

    def found(connection: sa.Connection) -> tuple[TillView, TakingsView, Page[ClosingView]]:
        row = known.till(connection, till_id, centre)
        return (
            queries.till_view(row),
            queries.open_takings(connection, till_id),
            queries.closings(connection, till_id, paging),
        )

    till, takings, page = await call.query(found)
    return call.render(
        "shop/closing.html", form.status, till=till, takings=takings, page=page, form=form
    )
