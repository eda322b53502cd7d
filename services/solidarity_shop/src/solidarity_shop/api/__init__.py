"""The HTTP API of the shop, under ``/shop/api``: JSON, problems (RFC 9457), keyset paging."""

from fastapi import APIRouter

from solidarity_shop.api import catalogue, sales, tills

router = APIRouter()
for part in (sales, tills, catalogue):
    router.routes += part.router.routes

__all__ = ["router"]
