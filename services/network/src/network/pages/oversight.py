"""What coordinators look after: who read what, and the dated configuration."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field, Json, ValidationError
from starlette.responses import Response

from network import commands, queries
from network.callers import who
from network.commands.rules import COUNTS, DEADLINES
from network.domain.deadlines import DeadlineRule
from network.models import CountRule, Input, NewRule
from network.pages.shared import Leads, show
from runtime.refusals import N_, Invalid
from web import Call, Form, Paged, forms

router = APIRouter()


class RuleForm(Input):
    """The whole configuration, from a day on."""

    answer_days: int = Field(ge=1, le=60)
    grace_days: int = Field(ge=0, le=60)
    expiry_days: int = Field(ge=1, le=250)
    threshold: int = Field(ge=3, le=1000)
    from_day: date | None = None
    seen: Json[dict[str, int]]
    """What held when the form was shown."""


@router.get("/network/audit")
async def audit(
    call: Leads, paged: Paged, referral: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Who read which referral when."""
    page = await call.query(
        lambda c: queries.audit_log(c, paged, call.centre, referral_id=referral)
    )
    return show(call, "audit.html", page=page, referral=referral)


@router.get("/network/rules")
async def rules(call: Leads) -> Response:
    """What holds now, what was set, and the form to set it anew."""
    return await _page(call, None)


@router.post("/network/rules")
async def set_rules(call: Leads) -> Response:
    """Set all of it from a day on (now, when no day is said)."""
    form = await call.form(RuleForm)
    if form.ok:
        me, centre = who(call), call.centre_or(None)
        try:
            asked = _rule(form.data, call.zone)
        except Invalid as refusal:
            form.refuse(refusal)
        else:
            seen = form.data.seen
            await form.command(
                lambda tx: commands.set_rules(tx, me, asked, centre_id=centre, seen=seen)
            )
    if form.ok:
        return call.redirect("/network/rules")
    return await _page(call, form)


def _rule(data: RuleForm, zone: ZoneInfo) -> NewRule:
    try:
        deadlines = DeadlineRule(
            answer_days=data.answer_days, grace_days=data.grace_days, expiry_days=data.expiry_days
        )
    except ValidationError as error:
        raise Invalid(
            "rules.order",
            N_("A referral cannot expire before it is overdue."),
            N_("Give more days until it expires, or fewer for the answer."),
            field="expiry_days",
        ) from error
    since = None
    if data.from_day:
        since = datetime.combine(data.from_day, time(), tzinfo=zone)
    return NewRule(from_time=since, deadlines=deadlines, counts=CountRule(threshold=data.threshold))


async def _page(call: Call, form: Form[RuleForm] | None) -> Response:
    centre, now = call.centre_or(None), call.parts.clock.now()
    known = await call.query(lambda c: queries.rules_of(c, centre, now))
    holding = known[0].values | known[1].values
    if form is None:
        form = call.blank(RuleForm, forms.showing(holding))
    forms.renew(form, holding, commands.rules_changed_meanwhile())
    return show(
        call,
        "rules.html",
        form.status,
        form=form,
        known=[rule for rule in known if rule.from_time],
        kinds={DEADLINES: call.say(N_("Deadlines")), COUNTS: call.say(N_("Counts"))},
    )
