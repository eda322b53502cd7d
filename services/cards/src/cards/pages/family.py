"""The family's own page: its points, what expires when, its cards, what happened."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from cards import queries, words
from cards.domain.card import grouped
from cards.pages.common import BAR_HEIGHT, BAR_WIDTH, AFamily, bars
from web.paging import Paging

router = APIRouter(prefix="/cards")

SHOWN = 20


@router.get("/me")
async def me(call: AFamily, after: str = "") -> Response:
    """Whose household is named by the sign-in; without one there is nothing to show yet."""
    household_id = call.caller.household_id
    household = await call.query(lambda c: queries.household(c, household_id))
    # Identity cannot know whose household it links: one of another centre is none.
    if household is None or call.centre not in ("", household.centre_id):
        return call.render("me.html", household=None)
    now = call.parts.clock.now()
    points = await call.query(lambda c: queries.points(c, household_id, now))
    timeline = await call.query(
        lambda c: queries.timeline(c, household_id, Paging(after[:500], SHOWN))
    )
    names = {member.id: member.given_name for member in household.members}
    return call.render(
        "me.html",
        household=household,
        points=points,
        bars=bars(points),
        bar_width=BAR_WIDTH,
        bar_height=BAR_HEIGHT,
        grouped=grouped,
        card_states=words.CARD_STATES,
        timeline=timeline,
        told=[
            (row.at, words.tell(call.to, row), names.get(row.facts.get("person_id", ""), ""))
            for row in timeline.items
        ],
    )
