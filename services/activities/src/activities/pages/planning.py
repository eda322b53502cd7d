"""Activities and their sessions, planned by the staff."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, Response

from activities import commands, queries
from activities.access import SET, by
from activities.commands import By
from activities.commands.planning import LARGEST, LONGEST_HOLD
from activities.domain.sessions import MOST_WEEKS, local_day
from activities.domain.waiting_list import Policy
from activities.pages.parts import Sets, Staff, by_day, by_the_clocks_of
from activities.queries import ActivityView
from messaging import Transaction
from web import Call, Form, Paged, Paging

router = APIRouter()


class ActivityForm(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=200)]
    area: Annotated[str, Field(max_length=100)] = ""
    description: Annotated[str, Field(max_length=2000)] = ""
    min_age: Annotated[int | None, Field(ge=0, le=120)] = None
    max_age: Annotated[int | None, Field(ge=0, le=120)] = None
    default_capacity: Annotated[int, Field(ge=1, le=LARGEST)]
    waiting_list_policy: Policy


class SessionForm(BaseModel):
    """Day and times of the clock on the wall of the centre."""

    day: date
    starts_at: time
    ends_at: time
    capacity: Annotated[int | None, Field(ge=1, le=LARGEST)] = None
    place: Annotated[str, Field(max_length=200)] = ""
    weeks: Annotated[int, Field(ge=1, le=MOST_WEEKS)] = 1

    def moments(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        begin = datetime.combine(self.day, self.starts_at.replace(tzinfo=None), tzinfo=zone)
        end = datetime.combine(self.day, self.ends_at.replace(tzinfo=None), tzinfo=zone)
        return begin, end


class HoldForm(BaseModel):
    hours: Annotated[int, Field(ge=1, le=LONGEST_HOLD)]


@router.get("/activities")
async def activities(call: Staff, paged: Paged) -> HTMLResponse:
    """All activities by title."""
    who = by(call)
    page = await call.query(lambda c: queries.activities(c, who.centre_id, paged))
    return call.render("activities/activities.html", page=page)


@router.get("/activities/new")
async def new_activity(call: Staff) -> HTMLResponse:
    first = {"default_capacity": 15, "waiting_list_policy": str(Policy.NEXT_WHO_FITS)}
    return call.render("activities/activity_new.html", form=call.blank(ActivityForm, first))


@router.post("/activities/new")
async def create_activity(call: Staff) -> Response:
    """Create it, then plan its sessions."""
    form = await call.form(ActivityForm)
    if form.ok:
        centre_id, values = call.centre_or(None), form.data.model_dump()
        made = await form.command(lambda tx: commands.create_activity(tx, centre_id, **values))
        if made is not None:
            return call.redirect(f"/activities/activities/{made.id}")
    return call.render("activities/activity_new.html", form.status, form=form)


@router.get("/activities/{activity_id}")
async def activity(activity_id: str, call: Staff, paged: Paged) -> HTMLResponse:
    """An activity with its coming sessions."""
    return await _activity(call, activity_id, paged, None)


@router.post("/activities/{activity_id}/hold")
async def set_hold(activity_id: str, call: Sets) -> Response:
    """How long an offered place of this activity is kept from now on."""
    who = by(call)
    form = await call.form(HoldForm)

    def work(tx: Transaction) -> None:
        commands.set_offer_hold(tx, who, hours=form.data.hours, activity_id=activity_id)

    await form.command(work)
    if form.ok:
        return call.redirect(f"/activities/activities/{activity_id}")
    return await _activity(call, activity_id, Paging(), form)


async def _activity(
    call: Call, activity_id: str, paged: Paging, form: Form[HoldForm] | None
) -> HTMLResponse:
    who, now = by(call), call.parts.clock.now()

    def read(c: sa.Connection) -> dict[str, Any]:
        return {
            "activity": queries.activity(c, who, activity_id, now),
            "page": queries.sessions(c, who.centre_id, paged, since=now, activity_id=activity_id),
        }

    found = await call.query(read)
    zone = await by_the_clocks_of(call, found["activity"].centre_id)
    shown = form or call.blank(HoldForm, {"hours": found["activity"].hold_hours})
    return call.render(
        "activities/activity.html",
        shown.status,
        form=shown,
        days=by_day(found["page"].items, zone),
        may_set=call.caller.has(*SET),
        **found,
    )


@router.get("/activities/{activity_id}/sessions/new")
async def new_session(activity_id: str, call: Staff) -> HTMLResponse:
    view = await _planned(call, by(call), activity_id)
    zone = await by_the_clocks_of(call, view.centre_id)
    day = local_day(call.parts.clock.now(), zone) + timedelta(days=1)
    first = {
        "day": day.isoformat(),
        "starts_at": "16:30",
        "ends_at": "18:30",
        "capacity": view.default_capacity,
        "weeks": 1,
    }
    return call.render(
        "activities/session_new.html", activity=view, form=call.blank(SessionForm, first)
    )


@router.post("/activities/{activity_id}/sessions/new")
async def schedule_sessions(activity_id: str, call: Staff) -> Response:
    """One session, or one a week."""
    who = by(call)
    view = await _planned(call, who, activity_id)
    zone = await by_the_clocks_of(call, view.centre_id)
    form = await call.form(SessionForm)

    def work(tx: Transaction) -> commands.SessionsMade:
        data = form.data
        begin, end = data.moments(zone)
        return commands.schedule_sessions(
            tx,
            who,
            activity_id,
            starts_at=begin,
            ends_at=end,
            capacity=data.capacity,
            place=data.place,
            weeks=data.weeks,
        )

    made = await form.command(work)
    if made is not None:
        alone = len(made.ids) == 1
        return call.redirect(
            f"/activities/sessions/{made.ids[0]}" if alone else f"/activities/activities/{view.id}"
        )
    return call.render("activities/session_new.html", form.status, activity=view, form=form)


async def _planned(call: Call, who: By, activity_id: str) -> ActivityView:
    now = call.parts.clock.now()
    return await call.query(lambda c: queries.activity(c, who, activity_id, now))
