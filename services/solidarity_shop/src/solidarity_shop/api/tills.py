"""Tills, the value of a point, and closing the day."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, status

from solidarity_shop import commands, queries
from solidarity_shop.access import Leading, Reading, Writing, centre_of
from solidarity_shop.api.models import ID, PROBLEMS, ClosingIn, PointValueIn, TillIn
from solidarity_shop.commands import known
from solidarity_shop.views import ClosingView, PointValueView, TakingsView, TillView
from web.paging import Page, Paged

router = APIRouter(prefix="/shop/api", tags=["shop"], responses=PROBLEMS)

TillId = Annotated[str, Path(pattern=ID)]


@router.post("/tills", status_code=status.HTTP_201_CREATED)
async def open_till(body: TillIn, call: Leading) -> TillView:
    """A new till of a centre."""
    centre_id = call.centre_or(body.centre_id)
    return await call.command(
        lambda tx: commands.open_till(tx, centre_id=centre_id, name=body.name, till_id=body.id)
    )


@router.get("/tills")
async def list_tills(call: Reading, paging: Paged) -> Page[TillView]:
    """The tills of the caller's centre."""
    centre = centre_of(call)
    return await call.query(lambda c: queries.tills(c, centre, paging))


@router.get("/tills/{till_id}/takings")
async def get_takings(till_id: TillId, call: Reading) -> TakingsView:
    """What the till has taken since its last closing."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> TakingsView:
        known.till(connection, till_id, centre)
        return queries.open_takings(connection, till_id)

    return await call.query(found)


@router.post("/tills/{till_id}/closings", status_code=status.HTTP_201_CREATED)
async def close_day(till_id: TillId, body: ClosingIn, call: Writing) -> ClosingView:
    """Count a till, once a day. What is sold afterwards belongs to the next closing."""
    centre = centre_of(call)
    return await call.command(
        lambda tx: commands.close_day(
            tx, till_id, centre=centre, counted_cents=body.counted_cents, closing_id=body.id
        )
    )


@router.get("/tills/{till_id}/closings")
async def list_closings(till_id: TillId, call: Reading, paging: Paged) -> Page[ClosingView]:
    """The closings of a till, newest first."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> Page[ClosingView]:
        known.till(connection, till_id, centre)
        return queries.closings(connection, till_id, paging)

    return await call.query(found)


@router.post("/point-values", status_code=status.HTTP_201_CREATED)
async def set_point_value(body: PointValueIn, call: Leading) -> PointValueView:
    """What a point is worth from a moment on; 10 cents until somebody says otherwise."""
    centre_id = call.centre_or(body.centre_id)
    return await call.command(
        lambda tx: commands.set_point_value(
            tx, centre_id=centre_id, cents=body.cents, from_time=body.from_time
        )
    )


@router.get("/point-values")
async def list_point_values(call: Reading, paging: Paged) -> Page[PointValueView]:
    """The values, past and to come, newest first."""
    centre = centre_of(call)
    return await call.query(lambda c: queries.point_values(c, centre, paging))
