"""The family's own page: its points, what expires when, its cards, what comes, what happened."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from fastapi import APIRouter
from starlette.responses import Response

from cards import queries, words
from cards.domain.card import grouped
from cards.pages.common import AFamily, expiry_chart, qr_of, zone_of
from web.call import Call
from web.paging import Paging

router = APIRouter(prefix="/cards")

SHOWN = 20


@router.get("/me")
async def me(call: AFamily, after: str = "") -> Response:
    """Whose household is named by the sign-in; without one there is nothing to show yet."""
    household = await _own(call)
    if household is None:
        return call.render("me.html", household=None)
    household_id = household.id
    zone = await zone_of(call, household.centre_id)
    now = call.parts.clock.now()
    points = await call.query(lambda c: queries.points(c, household_id, now))
    today = datetime.combine(now.astimezone(zone), time(), zone)
    signups = await call.query(lambda c: queries.signups(c, household_id, today))
    timeline = await call.query(
        lambda c: queries.told_to_family(c, household_id, Paging(after[:500], SHOWN))
    )
    names = {member.id: member.given_name for member in household.members}
    return call.render(
        "me.html",
        household=household,
        points=points,
        drawn=expiry_chart(call, points, zone),
        signups=signups,
        offered=[one for one in signups if one.state == "offered"],
        signup_states=words.SIGNUP_STATES,
        tomorrow=today + timedelta(days=1),
        qr_of=qr_of,
        grouped=grouped,
        card_states=words.CARD_STATES,
        timeline=timeline,
        told=[
            (row.at, words.tell(call.to, row, zone), names.get(row.facts.get("person_id", ""), ""))
            for row in timeline.items
        ],
    )


@router.get("/me/card")
async def card(call: AFamily) -> Response:
    """The card that can be used, large, to be read from the phone at the till."""
    household = await _own(call)
    cards = household.cards if household else []
    return call.render(
        "me_card.html",
        card=next((card for card in cards if card.state == "active"), None),
        qr_of=qr_of,
        grouped=grouped,
    )


async def _own(call: Call) -> queries.HouseholdSeen | None:
    """Identity cannot know whose household it links: one of another centre is none."""
    household = await call.query(lambda c: queries.household(c, call.caller.household_id))
    if household is None or call.centre not in ("", household.centre_id):
        return None
    return household
