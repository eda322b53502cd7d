"""The HTTP API of identity. Passwords come in by POST and PATCH alone and never go out."""

from __future__ import annotations

from fastapi import APIRouter

from identity.api import accounts, tokens

router = APIRouter()
for part in (tokens, accounts):
    router.include_router(part.router)
