"""Referrals: the list, a new one from the desk, one with the acts that are allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from network import commands, queries, store
from network.callers import who
from network.commands.referrals import Saying
from network.commands.shared import known_household
from network.domain.referral import Action
from network.domain.words import AREA_PATTERN, Outcome, Reason
from network.models import Input, Key, Link, NewReferral, Text
from network.pages.shared import Parties, Sends, organisation_options, show
from web import Call, Form, Paged

router = APIRouter()

Id = Annotated[str, Path(min_length=1, max_length=64)]
HouseholdId = Annotated[str, Query(alias="household", max_length=64)]


class Asked(Input):
    """The form of a new referral."""

    household_id: Link = ""
    area: Annotated[str, Field(pattern=AREA_PATTERN)]
    zone: Annotated[str, Field(max_length=80)] = ""
    to_organisation_id: Key
    note: Text = ""
    override_reason: Text = ""
    draft: bool = False


class Accept(Input):
    note: Text = Field(default="", alias="accept_note")


class Reject(Input):
    reason: Reason = Field(alias="reject_reason")
    note: Text = Field(default="", alias="reject_note")


class Start(Input):
    note: Text = Field(default="", alias="start_note")


class Hold(Input):
    note: Text = Field(default="", alias="hold_note")


class Complete(Input):
    outcome: Outcome = Field(alias="complete_outcome")
    note: Text = Field(default="", alias="complete_note")


class Cancel(Input):
    reason: Reason = Field(alias="cancel_reason")
    note: Text = Field(default="", alias="cancel_note")


class Reroute(Input):
    to_organisation_id: Key = Field(alias="reroute_to_organisation_id")
    note: Text = Field(default="", alias="reroute_note")
    override_reason: Text = Field(default="", alias="reroute_override_reason")


class Request(Input):
    override_reason: Text = Field(default="", alias="request_override_reason")


FORMS: dict[Action, type[Input]] = {
    Action.ACCEPT: Accept,
    Action.REJECT: Reject,
    Action.START: Start,
    Action.HOLD: Hold,
    Action.COMPLETE: Complete,
    Action.CANCEL: Cancel,
    Action.REROUTE: Reroute,
    Action.REQUEST: Request,
}
"""One form for each act; all stand on one page, so their fields have names of their own."""

ASKS = frozenset({Action.DRAFT, Action.REQUEST, Action.REROUTE})
"""The sender's own words to an organisation; every other note is an answer, or about an end."""


@router.get("/network/referrals")
async def listed(
    call: Parties,
    paged: Paged,
    shown: Annotated[Literal["open", "late", "closed"], Query(alias="show")] = "open",
) -> Response:
    """Sent by the centre, or received by the organisation."""
    me, now = who(call), call.parts.clock.now()
    page = await call.query(lambda c: queries.referrals(c, paged, me, now, show=shown))
    late = await call.query(lambda c: queries.count_late(c, me, now))
    return show(call, "referrals.html", page=page, shown=shown, late=late)


@router.get("/network/referrals/new")
async def new(
    call: Sends,
    household_id: HouseholdId = "",
    area: Annotated[str, Query(max_length=40)] = "",
    zone: Annotated[str, Query(max_length=80)] = "",
    organisation: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The form, as the desk opens it for a household."""
    form = call.blank(
        Asked,
        {
            "household_id": household_id,
            "area": area,
            "zone": zone,
            "to_organisation_id": organisation,
        },
    )
    return await _form(call, form)


@router.post("/network/referrals/new")
async def ask(call: Sends) -> Response:
    """Ask, and go to the referral."""
    form = await call.form(Asked)
    if form.ok:
        me, centre = who(call), call.centre_or(None)
        asked = NewReferral(**form.data.model_dump())
        made = await form.command(
            lambda tx: commands.record_referral(tx, me, asked, centre_id=centre)
        )
        if made is not None:
            return call.redirect(f"/network/referrals/{made.id}")
    return await _form(call, form)


async def _form(call: Call, form: Form[Asked]) -> Response:
    """Who is already known of is said: consent decides whether a reason is needed."""
    household_id = str(form.values.get("household_id") or "")
    centre = call.centre_or(None)

    def look(connection: sa.Connection) -> tuple[Any, Any, list[str]]:
        household = consent = None
        if household_id:
            household = known_household(connection, household_id, centre)
            consent = store.load(connection, store.consent_seen, household_id)
        return household, consent, queries.zones(connection, centre)

    household, consent, zones = await call.query(look)
    if household and not form.values.get("zone"):
        form.values["zone"] = household["zone"]
    return show(
        call,
        "referral_new.html",
        form.status,
        form=form,
        household_id=household_id,
        household=household,
        agreed=bool(consent and consent["given"]),
        zones=zones,
        organisations=await organisation_options(
            call, area=str(form.values.get("area") or "") if not form.errors else ""
        ),
    )


@router.get("/network/referrals/{referral_id}")
async def one(referral_id: Id, call: Parties) -> Response:
    """A referral; reading it is written in the audit log."""
    return await _one(call, referral_id)


@router.post("/network/referrals/{referral_id}/{action}")
async def act(referral_id: Id, action: Action, call: Parties) -> Response:
    """Do what the form says; a refusal leaves what was typed on the page."""
    model = FORMS.get(action)
    if model is None:
        return call.redirect(f"/network/referrals/{referral_id}")
    form: Form[Any] = await call.form(model)
    if form.ok:
        me, saying = who(call), Saying(**form.data.model_dump(mode="json"))
        await form.command(lambda tx: commands.act_on(tx, me, referral_id, action, saying))
    if form.ok:
        return call.redirect(f"/network/referrals/{referral_id}")
    for name in ("reason", "outcome", "to_organisation_id", "override_reason"):
        if name in form.errors:
            form.errors[f"{action}_{name}"] = form.errors.pop(name)
    return await _one(call, referral_id, action, form)


async def _one(
    call: Call, referral_id: str, action: Action | None = None, form: Form[Any] | None = None
) -> Response:
    me = who(call)
    # Reading leaves a trace, so it is a command; it must not share the key of the form's own.
    view = await call.parts.engine.transact(
        lambda tx: queries.read_referral(tx, me, referral_id),
        actor=call.caller.account_id,
        centre=call.centre,
        correlation=call.correlation,
    )
    forms: dict[str, Form[Any]] = {
        str(name): call.blank(model) for name, model in FORMS.items() if name in view.allowed
    }
    if Action.REROUTE in forms:  # the next one sees nothing of what the first was told, or answered
        told = (step.note for step in view.steps if step.note and step.action in ASKS)
        forms[Action.REROUTE].values["reroute_note"] = next(told, "")
    if action in forms and form is not None:
        forms[action] = form
    reroutes = Action.REROUTE in forms
    return show(
        call,
        "referral.html",
        form.status if form else 200,
        view=view,
        forms=forms,
        stray=form if form is not None and action not in view.allowed else None,
        organisations=[
            option
            for option in (await organisation_options(call, area=view.area) if reroutes else [])
            if option[0] != view.to_organisation_id
        ],
    )
