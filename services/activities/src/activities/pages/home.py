"""What is coming, and for a family what its people are signed up for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from activities import queries, store
from activities.access import by
from activities.domain.sessions import day_bounds, local_day
from activities.pages.parts import Reader, Staff, by_day, by_the_clocks_of, is_staff
from web import Paged

router = APIRouter()


@router.get("")
async def begin(call: Reader) -> Response:
    return call.redirect("/activities/")


@router.get("/")
async def home(call: Reader, paged: Paged) -> HTMLResponse:
    """Coming sessions by day; a family's own sign-ups above them."""
    who, now = by(call), call.parts.clock.now()
    today, _ = day_bounds(local_day(now, call.zone), call.zone)

    def read(c: sa.Connection) -> dict[str, Any]:
        page = queries.sessions(c, who.centre_id, paged, since=today)
        people = (
            store.household_people(c, who.household_id, who.centre_id) if who.household_id else []
        )
        return {
            "page": page,
            "people": people,
            "own": queries.household_sign_ups(c, people, now),
        }

    found = await call.query(read)
    return call.render(
        "activities/home.html",
        days=by_day(found["page"].items, call.zone),
        staff=is_staff(call),
        family=bool(who.household_id),
        back="/activities/",
        **found,
    )


@router.get("/today")
async def today(call: Staff, paged: Paged) -> HTMLResponse:
    """Today's sessions with the way to their registers."""
    who, now = by(call), call.parts.clock.now()
    day = local_day(now, call.zone)
    since, until = day_bounds(day, call.zone)
    page = await call.query(
        lambda c: queries.sessions(c, who.centre_id, paged, since=since, until=until)
    )
    return call.render("activities/today.html", page=page, day=day)


@router.get("/registers")
async def registers_not_taken(call: Staff, paged: Paged) -> HTMLResponse:
    """Sessions that ended and have no register, latest first."""
    who, now = by(call), call.parts.clock.now()
    page = await call.query(
        lambda c: queries.sessions(c, who.centre_id, paged, without_register_at=now)
    )
    return call.render("activities/registers.html", page=page)


@router.get("/households/{household_id}")
async def household(household_id: str, call: Staff, paged: Paged) -> HTMLResponse:
    """What a household is signed up for, and the sessions to sign it up for (from the desk)."""
    who, now = by(call), call.parts.clock.now()

    def read(c: sa.Connection) -> dict[str, Any]:
        centre_id = queries.household_centre(c, who, household_id)
        people = store.household_people(c, household_id)
        return {
            "centre_id": centre_id,
            "page": queries.sessions(c, centre_id, paged, since=now),
            "people": people,
            "own": queries.household_sign_ups(c, people, now),
        }

    found = await call.query(read)
    zone = await by_the_clocks_of(call, found.pop("centre_id"))
    return call.render(
        "activities/household.html",
        days=by_day(found["page"].items, zone),
        household_id=household_id,
        back=f"/activities/households/{household_id}",
        **found,
    )
