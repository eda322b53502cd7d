"""What the pages of cards share: who may come, which household, how a card's QR is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import segno
from fastapi import Depends, Path
from markupsafe import Markup
from starlette.responses import Response

from cards import commands, queries
from cards.access import DESK, LEADS
from cards.domain.card import digest_of, grouped, new_token
from messaging import Transaction
from runtime.refusals import N_, NotFound
from web import charts, formats, live
from web.auth import allow
from web.call import Call
from web.roles import Role

Id = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
AtDesk = Annotated[Call, Depends(allow(*DESK))]
Leading = Annotated[Call, Depends(allow(*LEADS))]
AFamily = Annotated[Call, Depends(allow(Role.FAMILY))]


@live.channel("cards", "household")
async def may_listen(call: Call, household_id: str) -> bool:
    """The desk of the household's centre, and the family itself (of that centre)."""
    own = call.caller.has(Role.FAMILY) and call.caller.household_id == household_id
    if not own and not call.caller.has(*DESK):
        return False
    return await call.query(lambda c: queries.visible(c, household_id, call.centre))


async def household_of(call: Call, household_id: str) -> queries.HouseholdSeen:
    """The household, or the page that says that there is none here."""
    found = await call.query(lambda c: queries.household(c, household_id))
    if found is None or call.centre not in ("", found.centre_id):
        raise NotFound(
            "household.unknown",
            N_("This household is not known here."),
            N_("Look for it at the desk by name, phone or card."),
        )
    return found


async def centres_of(call: Call) -> list[tuple[str, str]]:
    """The centres to choose from; none for a caller who has one."""
    return [] if call.centre else await call.query(queries.centres)


def labels(call: Call, words: Mapping[str, str]) -> list[tuple[str, str]]:
    """Values and their words in the reader's language, for a select."""
    return [(value, call.say(word)) for value, word in words.items()]


async def zone_of(call: Call, centre_id: str) -> ZoneInfo:
    """The zone in which a centre's days end, also for a caller of the whole foundation."""
    return call.zone if call.centre else await call.query(lambda c: queries.zone(c, centre_id))


def expiry_chart(call: Call, seen: queries.PointsSeen, zone: ZoneInfo) -> charts.Chart | None:
    """How many points can be spent until when, the soonest first; None without points."""
    by_day: dict[str, int] = {}
    for bucket in seen.buckets:
        if bucket.points:
            day = (
                call.say("Until {day}", day=formats.day(call.to, bucket.expires_at, zone))
                if bucket.expires_at
                else call.say("They do not expire")
            )
            by_day[day] = by_day.get(day, 0) + bucket.points
    if not by_day:
        return None
    head = (call.say("Until"), call.say("Points"))
    return charts.bars(call.to, call.say("What expires when"), head, list(by_day.items()))


async def hand_out(call: Call, give: Any, household_id: str) -> Response:
    """Give a card and show its number and QR: this once, for the token is kept nowhere.

    The page is the answer to the POST itself (no redirect): the token must not be stored to
    survive one. Sent again, the form gives the same card without its QR.
    """
    token = new_token()
    digest = digest_of(token)

    def command(tx: Transaction) -> commands.IssuedCard:
        issued: commands.IssuedCard = give(tx, digest)
        return issued

    issued = await call.command(command)
    household = await household_of(call, issued.household_id)
    fresh = issued.token_digest == digest
    page = call.render(
        "card.html",
        household=household,
        centre=(await call.query(lambda c: queries.centre_name(c, household.centre_id))),
        number=grouped(issued.number),
        token=token if fresh else "",
        qr=qr_of(token) if fresh else None,
        back=f"/cards/households/{issued.household_id}",
    )
    page.headers["Cache-Control"] = "no-store"
    return page


def qr_of(code: str) -> Markup:
    """The QR of a card's token or number as SVG, as large as its place, black on white in every
    colour scheme."""
    drawn = segno.make_qr(code, error="m").svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, title="QR"
    )
    return Markup(drawn)  # noqa: S704 - drawn here from digits and letters
