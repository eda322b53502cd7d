"""The pages of the shop: till, sales, stock, what a producer sees. All work without JavaScript."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from solidarity_shop.access import SELLERS
from solidarity_shop.pages import catalogue, closing, producer, sales, settings, shelf, till
from web.auth import allow
from web.call import Call
from web.roles import Role

router = APIRouter(prefix="/shop", include_in_schema=False)
for part in (till, sales, closing, catalogue, settings, producer, shelf):
    router.include_router(part.router)


@router.get("/")
async def home(call: Annotated[Call, Depends(allow(*SELLERS, Role.PRODUCER))]) -> Response:
    """Everybody where their work is."""
    return call.redirect("/shop/till" if call.caller.has(*SELLERS) else "/shop/producer")


__all__ = ["router"]
