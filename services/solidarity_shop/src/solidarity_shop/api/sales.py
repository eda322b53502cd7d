"""Sales and refunds."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, status

from solidarity_shop import commands, queries
from solidarity_shop.access import Reading, Writing, centre_of
from solidarity_shop.api.models import ID, PROBLEMS, CashIn, RefundIn, SaleIn
from solidarity_shop.commands import known
from solidarity_shop.domain.amounts import Method, Payment
from solidarity_shop.views import RefundView, SaleView
from web.paging import Page, Paged
from web.straight import StraightRoute

router = APIRouter(prefix="/shop/api", tags=["shop"], responses=PROBLEMS, route_class=StraightRoute)

TillId = Annotated[str, Path(pattern=ID)]
SaleId = Annotated[str, Path(pattern=ID)]


@router.post("/tills/{till_id}/sales", status_code=status.HTTP_201_CREATED)
async def sell(till_id: TillId, body: SaleIn, call: Writing) -> SaleView:
    """Sell at a till.

    Paid in cash alone the sale is `completed` at once. With points it is `waiting_for_points` until
    cards has answered: look again, at most 15 minutes. The same id with the same content gives the
    sale as it stands; with other content it is refused (`sale.repeated_with_other_content`).
    """
    centre = centre_of(call)
    new = commands.NewSale(
        id=body.id,
        till_id=till_id,
        lines=tuple(
            commands.WantedLine(
                quantity=line.quantity,
                product_id=line.product_id or "",
                barcode=line.barcode or "",
            )
            for line in body.lines
        ),
        payments=tuple(
            Payment(Method.CASH, payment.amount_cents)
            if isinstance(payment, CashIn)
            else Payment(Method.POINTS, payment.points)
            for payment in body.payments
        ),
        card_number=(body.card.number or "") if body.card else "",
        card_token=(body.card.token or "") if body.card else "",
        override_reason=body.override_reason,
        tendered_cents=body.tendered_cents,
    )
    return await call.command(lambda tx: commands.sell(tx, new, centre=centre))


@router.get("/tills/{till_id}/sales")
async def list_sales(
    till_id: TillId,
    call: Reading,
    paging: Paged,
    state: Literal["", "waiting_for_points", "completed", "cancelled"] = "",
) -> Page[SaleView]:
    """The sales of a till, newest first."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> Page[SaleView]:
        known.till(connection, till_id, centre)
        return queries.recent_sales(connection, centre, paging, till_id=till_id, state=state)

    return await call.query(found)


@router.get("/sales")
async def list_sales_of_centre(
    call: Reading,
    paging: Paged,
    state: Literal["", "waiting_for_points", "completed", "cancelled"] = "",
    centre_id: Annotated[str, Query(pattern=r"^$|" + ID)] = "",
) -> Page[SaleView]:
    """The sales of all tills of a centre, newest first; the foundation names the centre."""
    centre = call.centre_or(centre_id)
    return await call.query(lambda c: queries.recent_sales(c, centre, paging, state=state))


@router.get("/sales/{sale_id}")
async def get_sale(sale_id: SaleId, call: Reading) -> SaleView:
    """A sale: state, lines, payments, refunds, and why it was cancelled if it was."""
    centre = centre_of(call)
    return await call.query(lambda c: queries.sale_of(c, sale_id, centre))


@router.post("/sales/{sale_id}/cancel")
async def cancel_sale(sale_id: SaleId, call: Writing) -> SaleView:
    """Give up a sale that waits for points. Points are freed, the stock comes back."""
    centre = centre_of(call)
    return await call.command(lambda tx: commands.cancel_sale(tx, sale_id, centre=centre))


@router.post("/sales/{sale_id}/refunds", status_code=status.HTTP_201_CREATED)
async def refund_sale(sale_id: SaleId, body: RefundIn, call: Writing) -> RefundView:
    """Give back money and points in proportion to how it was paid.

    Points go back whole and rounded down, what is missing to a whole point in money as long as
    money was paid; once all is given back, all that was paid has gone back, to the cent.
    """
    centre = centre_of(call)
    new = commands.NewRefund(
        id=body.id,
        lines=tuple((line.product_id, line.quantity) for line in body.lines),
        reason=body.reason,
        goods_returned=body.goods_returned,
        till_id=body.till_id,
    )
    return await call.command(lambda tx: commands.refund_sale(tx, sale_id, new, centre=centre))
