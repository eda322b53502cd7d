"""The whole view of a household: people, consents, cards, points, path, and what happened."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from cards import commands, models, queries, words
from cards.access import LEADS
from cards.domain.card import BlockReason, grouped
from cards.domain.household import Purpose, Stage
from cards.models import Adjustment
from cards.pages.common import (
    AtDesk,
    Id,
    Leading,
    expiry_chart,
    hand_out,
    household_of,
    labels,
    zone_of,
)
from web import formats
from web.call import Call
from web.forms import Form
from web.paging import Paging

router = APIRouter(prefix="/cards")

SHOWN = 20

WARN_BEFORE = timedelta(weeks=4)
"""Points that expire are told of so long before, as Forus does (the rules of the field)."""


class ConsentForm(BaseModel):
    """A consent is given or withdrawn."""

    purpose: Purpose
    action: Literal["give", "withdraw"]


class StageForm(BaseModel):
    """Where a person is on the path."""

    person_id: str = Field(max_length=64)
    stage: Stage


class BlockForm(BaseModel):
    """Why a card is blocked."""

    reason: BlockReason


class AdjustForm(BaseModel):
    """Points by hand. ``expires_on`` is the last day on which they can be spent."""

    points: int = Field(ge=-1_000_000, le=1_000_000)
    reason: models.Reason
    expires_on: date | None = None


@router.get("/households/{household_id}")
async def show(household_id: Id, call: AtDesk, after: str = "", done: str = "") -> Response:
    return await _page(call, household_id, after=after[:500], done=done)


@router.post("/households/{household_id}/consents")
async def consent(household_id: Id, call: AtDesk) -> Response:
    form = await call.form(ConsentForm)
    if form.ok:
        change = commands.give_consent if form.data.action == "give" else commands.withdraw_consent
        await form.command(lambda tx: change(tx, household_id, form.data.purpose))
    return await _after(call, household_id, form, "consent")


@router.post("/households/{household_id}/stage")
async def stage(household_id: Id, call: AtDesk) -> Response:
    form = await call.form(StageForm)
    await form.command(
        lambda tx: commands.change_stage(tx, household_id, form.data.person_id, form.data.stage)
    )
    return await _after(call, household_id, form, "stage")


@router.post("/households/{household_id}/cards")
async def issue(household_id: Id, call: AtDesk) -> Response:
    return await hand_out(
        call, lambda tx, digest: commands.issue_card(tx, household_id, digest), household_id
    )


@router.post("/cards/{card_id}/replace")
async def replace(card_id: Id, call: AtDesk) -> Response:
    return await hand_out(
        call, lambda tx, digest: commands.replace_card(tx, card_id, digest), card_id
    )


@router.post("/households/{household_id}/cards/{card_id}/block")
async def block(household_id: Id, card_id: Id, call: AtDesk) -> Response:
    form = await call.form(BlockForm)
    await form.command(lambda tx: commands.block_card(tx, card_id, form.data.reason))
    return await _after(call, household_id, form, "blocked")


@router.post("/households/{household_id}/points")
async def adjust(household_id: Id, call: Leading) -> Response:
    form = await call.form(AdjustForm)
    if form.ok:
        household = await household_of(call, household_id)
        zone = await zone_of(call, household.centre_id)
        asked = Adjustment(
            points=form.data.points,
            reason=form.data.reason,
            expires_at=_end_of(form.data.expires_on, zone),
        )
        await form.command(lambda tx: commands.adjust_points(tx, household_id, asked))
        if "expires_at" in form.errors:
            form.errors["expires_on"] = form.errors.pop("expires_at")
    return await _after(call, household_id, form, "adjusted", adjusting=True)


@router.get("/households/{household_id}/erase")
async def erasing(household_id: Id, call: Leading) -> Response:
    return call.render("erase.html", household=await household_of(call, household_id))


@router.post("/households/{household_id}/erase")
async def erase(household_id: Id, call: Leading) -> Response:
    await call.command(lambda tx: commands.erase_household(tx, household_id))
    return call.redirect("/cards/desk")


async def _after(
    call: Call, household_id: str, form: Form[Any], done: str, *, adjusting: bool = False
) -> Response:
    """Back to the household; with what was typed and what is wrong when it was refused."""
    if form.ok:
        return call.redirect(f"/cards/households/{household_id}?done={done}")
    return await _page(
        call, household_id, status=form.status, form=form, adjusting=form if adjusting else None
    )


async def _page(
    call: Call,
    household_id: str,
    *,
    after: str = "",
    done: str = "",
    status: int = 200,
    form: Form[Any] | None = None,
    adjusting: Form[Any] | None = None,
) -> Response:
    household = await household_of(call, household_id)
    zone = await zone_of(call, household.centre_id)
    now = call.parts.clock.now()
    today = datetime.combine(now.astimezone(zone), time(), zone)
    points = await call.query(lambda c: queries.points(c, household_id, now))
    own = call.caller.household_id == household_id
    read = queries.told_to_family if own else queries.timeline
    timeline = await call.query(lambda c: read(c, household_id, Paging(after, SHOWN)))
    names = {member.id: member.name for member in household.members}
    signups = await call.query(lambda c: queries.signups(c, household_id, today))
    return call.render(
        "household.html",
        status,
        household=household,
        consents={one.purpose.value: one for one in household.consents},
        purposes=words.PURPOSES,
        stages=labels(call, words.STAGES),
        block_reasons=[
            choice for choice in labels(call, words.BLOCK_REASONS) if choice[0] != "replaced"
        ],
        card_states=words.CARD_STATES,
        reasons=words.BLOCK_REASONS,
        grouped=grouped,
        points=points,
        drawn=expiry_chart(call, points, zone),
        alerts=_alerts(call, household, points, signups, now, zone),
        timeline=timeline,
        told=[
            (row.at, words.tell(call.to, row, zone), names.get(row.facts.get("person_id", ""), ""))
            for row in timeline.items
        ],
        signups=signups,
        signup_states=words.SIGNUP_STATES,
        tomorrow=today + timedelta(days=1),
        referrals=0 if own else await call.query(lambda c: queries.open_referrals(c, household_id)),
        leading=call.caller.has(*LEADS),
        form=form,
        adjusting=adjusting or call.blank(AdjustForm),
        done=done,
    )


def _alerts(
    call: Call,
    household: queries.HouseholdSeen,
    points: queries.PointsSeen,
    signups: list[queries.SignUpSeen],
    now: datetime,
    zone: ZoneInfo,
) -> list[str]:
    """What whoever welcomes this household should know before anything else."""
    found = []
    if household.cards and not any(card.state == "active" for card in household.cards):
        found.append(call.say("No card of this household can be used. Hand out a new one."))
    soon = now + WARN_BEFORE
    going = [b for b in points.buckets if b.points and b.expires_at and b.expires_at <= soon]
    if going:
        found.append(
            call.say(
                "{points} expire within four weeks, the first on {day}.",
                points=formats.points(call.to, sum(bucket.points for bucket in going)),
                day=formats.day(call.to, going[0].expires_at or now, zone),
            )
        )
    found.extend(
        call.say("A place is offered: {title}. It waits for an answer.", title=one.title)
        for one in signups
        if one.state == "offered"
    )
    return found


def _end_of(day: date | None, zone: ZoneInfo) -> datetime | None:
    """The end of a day of the centre."""
    return None if day is None else datetime.combine(day, time(23, 59, 59), zone)
