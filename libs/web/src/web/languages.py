"""Changing the language: a choice in the header of every page, kept in a cookie for a year."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from web.auth import public
from web.call import LANGUAGE, Call
from web.parts import parts_of
from web.translations import LANGUAGES
from web.urls import local_path

YEAR = 365 * 24 * 3600


class _Choice(BaseModel):
    language: str = ""
    next: str = "/"


def router(prefix: str) -> APIRouter:
    """``POST {prefix}/language``: remember the language and go back to the page."""
    made = APIRouter(include_in_schema=False)

    @made.post(f"{prefix}/language")
    async def choose(call: Annotated[Call, Depends(public())]) -> Response:
        choice = (await call.form(_Choice)).model or _Choice()  # a file is no language
        answer = call.redirect(local_path(choice.next))
        if choice.language in LANGUAGES:
            parts = parts_of(call.request)
            answer.set_cookie(
                parts.cookie(LANGUAGE),
                choice.language,
                max_age=YEAR,
                secure=parts.secure,
                httponly=True,
                samesite="lax",
            )
        return answer

    return made
