"""The pages of the network: referrals, the directory, needs, and what coordinators look after."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from network.pages import directory, needs, oversight, referrals
from web import Call, allow

router = APIRouter(include_in_schema=False)


@router.get("/network/")
async def home(call: Annotated[Call, Depends(allow())]) -> Response:
    """The network's first page."""
    return call.redirect("/network/referrals")


for part in (referrals, directory, needs, oversight):
    router.include_router(part.router)
