"""The public home of the centres, without a sign-in: who we are, what is on, what is in the shop,
the wall at the entrance. What others know is on their own pages: this one leads there."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from identity import queries
from identity.pages import words
from identity.pages.sign_in import Anybody

router = APIRouter(include_in_schema=False)


@router.get("/identity/welcome")
async def welcome(call: Anybody) -> Response:
    """All centres of the foundation, or the one that there is."""
    now = call.parts.clock.now()
    centres = [
        (centre_id, name, words.told(call, said, now, zone))
        for centre_id, name, zone, said in await call.query(queries.open_houses)
    ]
    return call.render("welcome.html", centres=centres)


@router.get("/identity/today")
async def today(call: Anybody) -> Response:
    """The wall of the one centre that there is; of several, to be chosen."""
    centres = await call.query(queries.centre_names)
    if len(centres) == 1:
        return call.redirect(f"/activities/wall/{centres[0][0]}")
    return call.redirect("/identity/welcome")
