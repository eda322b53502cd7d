"""The HTTP API of the shop, under ``/shop/api``: JSON, problems (RFC 9457), keyset paging."""

from fastapi import APIRouter

from solidarity_shop.api import catalogue, sales, tills

router = APIRouter(prefix="/shop/api", tags=["shop"])
router.include_router(sales.router)
router.include_router(tills.router)
router.include_router(catalogue.router)

__all__ = ["router"]
