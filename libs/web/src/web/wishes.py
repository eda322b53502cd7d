"""How somebody wants the house: bright or dark, with sounds or without; kept in cookies for a year.

Both are read on the server, so that the first answer has them and no script is needed.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from web.auth import public
from web.call import Call
from web.parts import parts_of
from web.urls import local_path

THEME = "theme"
SOUND = "sound"
THEMES = ("light", "dark")
YEAR = 365 * 24 * 3600


class _Choice(BaseModel):
    theme: str = ""
    sound: str = ""
    next: str = "/"


def theme_of(request: Request) -> str:
    """``light`` or ``dark`` when it was chosen; "" leaves it to the device."""
    chosen = request.cookies.get(parts_of(request).cookie(THEME), "")
    return chosen if chosen in THEMES else ""


def sounds(request: Request) -> bool:
    """True when somebody turned the sounds of success and refusal on."""
    return request.cookies.get(parts_of(request).cookie(SOUND), "") == "on"


def router(prefix: str) -> APIRouter:
    """``POST {prefix}/wishes``: remember what was chosen and go back to the page."""
    made = APIRouter(include_in_schema=False)

    @made.post(f"{prefix}/wishes")
    async def choose(call: Annotated[Call, Depends(public())]) -> Response:
        form = await call.form(_Choice)
        choice = form.data if form.ok else _Choice()
        answer = call.redirect(local_path(choice.next))
        parts = parts_of(call.request)
        for name, value, kept in (
            (THEME, choice.theme, choice.theme in THEMES),
            (SOUND, choice.sound, choice.sound == "on"),
        ):
            if value:
                answer.set_cookie(
                    parts.cookie(name),
                    value if kept else "",
                    max_age=YEAR if kept else 0,
                    secure=parts.secure,
                    httponly=True,
                    samesite="lax",
                )
        return answer

    return made
