"""What a centre shows to everybody, without a sign-in: what is on, and the wall at the entrance.
Sessions, places and free places; never who comes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import HTMLResponse

from activities import queries
from activities.domain.sessions import day_bounds, local_day
from activities.pages.parts import by_day, by_the_clocks_of
from web import Call, Paged, Paging, public

router = APIRouter()

Anybody = Annotated[Call, Depends(public())]
Centre = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]

AHEAD = timedelta(days=14)
WEEK = timedelta(days=6)
"""From the first day of a poster to its last."""
MOST = Paging(limit=60)
"""As many sessions as a poster of the week or the screen at the entrance holds."""
SHEET = Paging(limit=10)
"""As many sessions of one activity as one sheet holds."""


@router.get("/open/{centre_id}")
async def what_is_on(centre_id: Centre, call: Anybody, paged: Paged) -> HTMLResponse:
    """The sessions of two weeks, by day, in parts."""
    zone, now = await by_the_clocks_of(call, centre_id), call.parts.clock.now()
    today, _ = day_bounds(local_day(now, zone), zone)
    page = await call.query(
        lambda c: queries.sessions(c, centre_id, paged, since=today, until=now + AHEAD)
    )
    return call.render(
        "activities/open.html", days=by_day(page.items, zone), page=page, centre_id=centre_id
    )


@router.get("/poster/{centre_id}")
async def poster(
    centre_id: Centre, call: Anybody, activity: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """A sheet for the wall: what is on from today for a week, or an activity's next sessions."""
    zone = await by_the_clocks_of(call, centre_id)
    day = local_day(call.parts.clock.now(), zone)
    since, _ = day_bounds(day, zone)
    _, until = day_bounds(day + WEEK, zone)
    page = await call.query(
        lambda c: (
            queries.sessions(
                c, centre_id, SHEET, since=since, activity_id=activity, cancelled=False
            )
            if activity
            else queries.sessions(c, centre_id, MOST, since=since, until=until, cancelled=False)
        )
    )
    title = page.items[0].title if activity and page.items else ""
    return call.render("activities/poster.html", days=by_day(page.items, zone), title=title)


@router.get("/wall/{centre_id}")
async def wall(centre_id: Centre, call: Anybody) -> HTMLResponse:
    """Today, as large as the screen at the entrance; it follows by itself."""
    zone, now = await by_the_clocks_of(call, centre_id), call.parts.clock.now()
    day = local_day(now, zone)
    since, until = day_bounds(day, zone)
    page = await call.query(
        lambda c: queries.sessions(c, centre_id, MOST, since=since, until=until)
    )
    return call.render(
        "activities/wall.html",
        sessions=[one for one in page.items if one.ends_at > now],
        day=day,
        now=now,
    )
