"""Rules of earning, and points that nobody had: the coordinator's pages."""

from __future__ import annotations

from datetime import date, datetime, time

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from cards import commands, queries
from cards.models import RuleNew
from cards.pages.common import Leading, centres_of, zone_of
from web.call import Call
from web.forms import Form
from web.paging import Paging

router = APIRouter(prefix="/cards")

SHOWN = 20


class RuleForm(BaseModel):
    """A rule from the beginning of a day on; empty: from now on."""

    per_euro: int = Field(default=0, ge=0, le=1000)
    per_attendance: int = Field(default=0, ge=0, le=1000)
    valid_days: int = Field(default=365, ge=1, le=3650)
    from_day: date | None = None
    centre_id: str = Field(default="", max_length=64)


@router.get("/rules")
async def rules(call: Leading, after: str = "", done: str = "") -> Response:
    first = {"per_euro": 1, "per_attendance": 5, "valid_days": 365}
    return await _page(call, call.blank(RuleForm, first), after=after[:500], done=done)


@router.post("/rules")
async def set_rule(call: Leading) -> Response:
    form = await call.form(RuleForm)
    if form.ok:
        day = form.data.from_day
        zone = await zone_of(call, form.data.centre_id)
        asked = RuleNew(
            **form.data.model_dump(exclude={"from_day"}),
            from_time=None if day is None else datetime.combine(day, time(), zone),
        )
        await form.command(lambda tx: commands.set_earning_rule(tx, asked))
    if not form.ok:
        return await _page(call, form)
    return call.redirect("/cards/rules?done=set")


@router.get("/uncovered")
async def uncovered(call: Leading, after: str = "") -> Response:
    page = await call.query(lambda c: queries.uncovered(c, call.centre, Paging(after[:500], SHOWN)))
    return call.render("uncovered.html", page=page)


async def _page(call: Call, form: Form[RuleForm], *, after: str = "", done: str = "") -> Response:
    page = await call.query(lambda c: queries.rules(c, call.centre, Paging(after, SHOWN)))
    return call.render(
        "rules.html", form.status, form=form, page=page, done=done, centres=await centres_of(call)
    )
