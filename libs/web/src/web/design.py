"""The page that shows every component in every state, ``{prefix}/design``: in every language,
bright or dark, from left to right or from right to left. It holds nothing of anybody.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from runtime.refusals import N_
from web import charts
from web.auth import public
from web.call import Call
from web.forms import Form
from web.pages import STATIC

NAMES = (
    "Maria D'Amico",
    "أمينة بن يوسف",
    "王小明",
    "Massimiliano Ferdinando Alessandro Maria Quattrocchi-Buonaventura",
)
ICONS = tuple(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons.svg").read_text("utf-8")))


def router(prefix: str) -> APIRouter:
    """``GET {prefix}/design``."""
    made = APIRouter(include_in_schema=False)

    @made.get(f"{prefix}/design")
    async def design(call: Annotated[Call, Depends(public())]) -> Response:
        now = call.parts.clock.now()
        return call.render(
            "design.html",
            names=NAMES,
            icons=ICONS,
            forms=[
                ("empty_", Form[BaseModel](call)),
                ("filled_", Form[BaseModel](call, values=_values("filled_"))),
                (
                    "wrong_",
                    Form[BaseModel](call, values=_values("wrong_"), errors=_errors(call, "wrong_")),
                ),
            ],
            options=[("a", call.say(N_("Till"))), ("b", call.say(N_("Desk")))],
            happened=[
                (now, call.say(N_("A card was handed out.")), ""),
                (now - timedelta(hours=3), call.say(N_("The card was blocked.")), "refused"),
                (now - timedelta(days=2), call.say(N_("A message was delivered.")), "told"),
            ],
            drawings=_drawings(call),
        )

    return made


def _values(prefix: str) -> dict[str, Any]:
    typed = {
        "name": NAMES[1],
        "note": NAMES[3],
        "price": 1250,
        "zone": "b",
        "way": "a",
        "ways": ["a", "b"],
        "agreed": True,
        "day": "2026-12-31",
    }
    return {prefix + name: value for name, value in typed.items()}


def _errors(call: Call, prefix: str) -> dict[str, str]:
    said = call.say(N_("Write something here."))
    return {name: said for name in _values(prefix) if name != f"{prefix}day"}


def _drawings(call: Call) -> list[charts.Chart]:
    title, zone, visits = (
        call.say(N_("Visits by zone")),
        call.say(N_("Zone")),
        call.say(N_("Visits")),
    )
    rows = [("Satta", 41), ("Vialba", 17), ("Via Concilio Vaticano II", 6), ("–", 0)]
    weeks = [str(week) for week in range(40, 48)]
    course = {
        call.say(N_("Present")): [12, 18, 17, 22, 25, 21, 30, 34],
        call.say(N_("Absent")): [3, 2, 6, 4, 5, 9, 4, 2],
    }
    head = (call.say(N_("Week")),)
    return [
        charts.bars(call.to, title, (zone, visits), rows),
        charts.columns(call.to, call.say(N_("Registers by week")), head, weeks, course),
        charts.line(call.to, call.say(N_("Registers by week")), head, weeks, course),
        charts.donut(call.to, title, (zone, visits), rows[:3]),
    ]
