"""What lies on the shelf, for everybody and without a sign-in: goods, prices, never who buys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from solidarity_shop import queries
from solidarity_shop.api.models import ID
from web.auth import public
from web.call import Call
from web.paging import Paged

router = APIRouter()

Anybody = Annotated[Call, Depends(public())]


@router.get("/open/{centre_id}")
async def shelf(
    centre_id: Annotated[str, Path(pattern=ID)], call: Anybody, paging: Paged
) -> Response:
    """What is for sale and there, by name."""
    page = await call.query(
        lambda c: queries.products(c, centre_id, paging, sellable=True, there=True)
    )
    return call.render("shop/shelf.html", page=page, centre_id=centre_id)
