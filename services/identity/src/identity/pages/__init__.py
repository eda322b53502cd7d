"""The pages of identity: signing in, one's own account, accounts and centres."""

from __future__ import annotations

from fastapi import APIRouter

from identity.pages import accounts, centres, own, sign_in

router = APIRouter(include_in_schema=False)
for part in (sign_in, own, accounts, centres):
    router.include_router(part.router)
