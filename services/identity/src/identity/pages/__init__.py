"""The pages of identity: the public home, signing in, one's own account, accounts and centres."""

from __future__ import annotations

from fastapi import APIRouter

from identity.pages import accounts, centres, own, sign_in, welcome, words

router = APIRouter(include_in_schema=False)
for part in (sign_in, own, accounts, centres, words, welcome):
    router.include_router(part.router)
