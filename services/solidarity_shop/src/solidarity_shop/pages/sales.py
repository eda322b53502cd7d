"""A sale after it was made: where it stands, its receipt, giving it up, giving back."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from solidarity_shop import commands, queries, store
from solidarity_shop.access import centre_of
from solidarity_shop.api.models import ID, Note
from solidarity_shop.commands import known
from solidarity_shop.domain.sale import State
from solidarity_shop.pages.words import CANCELLED, NOT_GIVEN, STATES, RowId, Seller
from solidarity_shop.views import SaleView, TillView
from web import answers
from web.call import Call
from web.forms import Form
from web.paging import Page, Paged

router = APIRouter()


class BackLine(BaseModel):
    product_id: str = Field(pattern=ID)
    quantity: int = Field(default=0, ge=0, le=999)


class RefundForm(BaseModel):
    lines: list[BackLine] = Field(default_factory=list)
    reason: Note = Field(min_length=1)
    goods_returned: bool = False


@router.get("/till/{till_id}/sales")
async def recent(till_id: RowId, call: Seller, paging: Paged) -> Response:
    """The sales of a till, newest first."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> tuple[TillView, Page[SaleView]]:
        row = known.till(connection, till_id, centre)
        page = queries.recent_sales(connection, centre, paging, till_id=till_id)
        return queries.till_view(row), page

    till, page = await call.query(found)
    return call.render("shop/sales.html", till=till, page=page, states=STATES)


@router.get("/sales/{sale_id}")
async def sale(sale_id: RowId, call: Seller) -> Response:
    """Where a sale stands; while it waits the page follows it."""
    return await _show(call, sale_id, "shop/sale.html")


@router.get("/sales/{sale_id}/receipt")
async def receipt(sale_id: RowId, call: Seller) -> Response:
    """The receipt alone, to be printed."""
    return await _show(call, sale_id, "shop/receipt.html")


@router.post("/sales/{sale_id}/cancel")
async def cancel(sale_id: RowId, call: Seller) -> Response:
    """Give up waiting. A sale that was completed meanwhile is shown as it is."""
    centre = centre_of(call)

    class Nothing(BaseModel):
        """A button and no field."""

    form = await call.form(Nothing)
    await form.command(lambda tx: commands.cancel_sale(tx, sale_id, centre=centre))
    if form.errors:
        return await _show(call, sale_id, "shop/sale.html", form)
    return call.redirect(f"/shop/sales/{sale_id}")


@router.get("/sales/{sale_id}/refund")
async def refund_form(
    sale_id: RowId, call: Seller, whole: Annotated[bool, Query(alias="all")] = False
) -> Response:
    """What comes back, to be chosen; with ``all`` everything that is left is chosen already, to
    undo a sale that was wrong."""
    form = call.blank(RefundForm, {"goods_returned": True})
    if whole:
        centre = centre_of(call)
        view = await call.query(lambda connection: queries.sale_of(connection, sale_id, centre))
        left = [line for line in view.lines if line.quantity > line.refunded]
        for place, line in enumerate(left):
            form.values[f"lines.{place}.quantity"] = line.quantity - line.refunded
        form.values["reason"] = call.say("The sale was a mistake")
    return await _show(call, sale_id, "shop/refund.html", form)


@router.post("/sales/{sale_id}/refund")
async def refund(sale_id: RowId, call: Seller) -> Response:
    """Give back what was chosen."""
    centre = centre_of(call)
    form = await call.form(RefundForm)
    done = None
    if form.ok:
        asked = form.data
        lines = tuple((line.product_id, line.quantity) for line in asked.lines if line.quantity)
        done = await form.attempt(
            call.command(
                lambda tx: commands.refund_sale(
                    tx,
                    sale_id,
                    commands.NewRefund(
                        id=answers.id_of(tx),
                        lines=lines,
                        reason=asked.reason,
                        goods_returned=asked.goods_returned,
                    ),
                    centre=centre,
                )
            )
        )
    if done is None:
        return await _show(call, sale_id, "shop/refund.html", form)
    return call.redirect(f"/shop/sales/{sale_id}")


async def _show(call: Call, sale_id: str, template: str, form: Form[Any] | None = None) -> Response:
    centre = centre_of(call)

    def found(connection: sa.Connection) -> tuple[SaleView, str]:
        view = queries.sale_of(connection, sale_id, centre)
        till = store.row_of(connection, store.till, view.till_id)
        return view, till["name"] if till is not None else ""

    view, till_name = await call.query(found)
    return call.render(
        template,
        form.status if form is not None else 200,
        sale=view,
        till_name=till_name,
        waiting=view.state is State.WAITING,
        completed=view.state is State.COMPLETED,
        state=STATES[view.state],
        why=CANCELLED.get(view.reason, NOT_GIVEN) if view.reason else "",
        form=form,
        errors=form.errors if form is not None else {},
        left=any(line.quantity > line.refunded for line in view.lines),
    )
