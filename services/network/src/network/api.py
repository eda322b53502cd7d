"""The network over HTTP: directory, needs, referrals, the audit log, dated configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query

from network import commands, queries
from network.callers import EDITORS, LEADS, PARTIES, READ, READERS, SENDERS, WRITE, who
from network.commands.referrals import Saying
from network.domain.referral import Action
from network.domain.words import Capacity
from network.models import (
    AuditLine,
    Cancelled,
    CapacityNow,
    Completed,
    Made,
    NeedCounts,
    NewNeed,
    NewOrganisation,
    NewReferral,
    NewRule,
    NewService,
    Noted,
    OrganisationFields,
    OrganisationLine,
    OrganisationView,
    ReferralLine,
    ReferralState,
    ReferralView,
    Rejected,
    Requested,
    Rerouted,
    RuleView,
    ServiceFields,
)
from network.store import Who
from web import Call, Page, Paged, Role, allow

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": why, "content": PROBLEM}
    for status, why in (
        (401, "No token, or one that does not hold"),
        (403, "Not this role or scope"),
        (404, "There is none, or none that the caller may see"),
        (409, "Not possible now; `reason` and `next_step` say why and what to do"),
        (422, "What was sent makes no sense; `errors` names the fields"),
    )
}

router = APIRouter(prefix="/network/api", tags=["network"], responses=PROBLEMS)

Id = Annotated[str, Path(min_length=1, max_length=64)]
Centre = Annotated[
    str, Query(max_length=64, description="Only for administrators of the foundation")
]
Reads = Annotated[Call, Depends(allow(*READERS, scope=READ))]
Edits = Annotated[Call, Depends(allow(*EDITORS, scope=WRITE))]
Leads = Annotated[Call, Depends(allow(*LEADS, scope=READ))]
Rules = Annotated[Call, Depends(allow(*LEADS, scope=WRITE))]
Records = Annotated[Call, Depends(allow(*SENDERS, Role.EDUCATOR, scope=WRITE))]
Sends = Annotated[Call, Depends(allow(*SENDERS, scope=WRITE))]
PartyReads = Annotated[Call, Depends(allow(*PARTIES, scope=READ))]
PartyWrites = Annotated[Call, Depends(allow(*PARTIES, scope=WRITE))]


# -- directory -----------------------------------------------------------------------------------


@router.post("/organisations", status_code=201)
async def register_organisation(body: NewOrganisation, call: Edits) -> Made:
    """Put an organisation into the directory. The same `id` with the same content is the same."""
    if body.centre_id:
        call.require_centre(body.centre_id)
    me = who(call)
    made = await call.command(
        lambda tx: commands.register_organisation(tx, me, body), centre=body.centre_id or None
    )
    return Made(id=made)


@router.get("/organisations")
async def directory(
    call: Reads,
    paged: Paged,
    area: Annotated[str, Query(max_length=40)] = "",
    zone: Annotated[str, Query(max_length=80)] = "",
    capacity: Capacity | None = None,
) -> Page[OrganisationLine]:
    """Organisations by name, of the centre and of the whole foundation."""
    return await call.query(
        lambda c: queries.directory(
            c, paged, call.centre, area=area, zone=zone, capacity=capacity or ""
        )
    )


@router.get("/organisations/{organisation_id}")
async def organisation(organisation_id: Id, call: Reads) -> OrganisationView:
    """One organisation with its services."""
    return await call.query(lambda c: queries.organisation_view(c, organisation_id, call.centre))


@router.put("/organisations/{organisation_id}")
async def change_organisation(organisation_id: Id, body: OrganisationFields, call: Edits) -> Made:
    """Say anew all that is known of an organisation."""
    me = who(call)
    await call.command(lambda tx: commands.change_organisation(tx, me, organisation_id, body))
    return Made(id=organisation_id)


@router.post("/organisations/{organisation_id}/services", status_code=201)
async def register_service(organisation_id: Id, body: NewService, call: Edits) -> Made:
    """Add a service."""
    me = who(call)
    made = await call.command(lambda tx: commands.register_service(tx, me, organisation_id, body))
    return Made(id=made)


@router.put("/services/{service_id}")
async def change_service(service_id: Id, body: ServiceFields, call: Edits) -> Made:
    """Say anew all that is known of a service."""
    me = who(call)
    await call.command(lambda tx: commands.change_service(tx, me, service_id, body))
    return Made(id=service_id)


@router.post("/services/{service_id}/capacity")
async def say_capacity(
    service_id: Id,
    body: CapacityNow,
    call: Annotated[Call, Depends(allow(*EDITORS, Role.PARTNER, scope=WRITE))],
) -> Made:
    """Say whether a service can take somebody: a partner for its own, the centre for any."""
    me = who(call)
    await call.command(lambda tx: commands.say_capacity(tx, me, service_id, body.capacity))
    return Made(id=service_id)


# -- needs ---------------------------------------------------------------------------------------


@router.post("/needs", status_code=201)
async def record_need(body: NewNeed, call: Records) -> Made:
    """Record what somebody lacks, by zone and area of life."""
    me, centre = who(call), call.centre_or(body.centre_id)
    made = await call.command(
        lambda tx: commands.record_need(tx, me, body, centre_id=centre), centre=centre
    )
    return Made(id=made)


@router.get("/needs/counts")
async def need_counts(
    call: Reads,
    year: Annotated[
        int | None, Query(ge=2000, le=2999, description="Whole years only; empty: this one")
    ] = None,
    centre_id: Centre = "",
) -> NeedCounts:
    """Needs by zone and area; counts below the threshold, and what would betray them, are null."""
    centre, now = call.centre_or(centre_id), call.parts.clock.now()
    return await call.query(lambda c: queries.need_counts(c, centre, now, year))


# -- referrals -----------------------------------------------------------------------------------


@router.post("/referrals", status_code=201)
async def record_referral(body: NewReferral, call: Sends) -> ReferralState:
    """Ask an organisation to help. Without the household's consent only with `override_reason`."""
    me, centre = who(call), call.centre_or(body.centre_id)
    return await call.command(
        lambda tx: commands.record_referral(tx, me, body, centre_id=centre), centre=centre
    )


@router.get("/referrals")
async def referrals(
    call: PartyReads,
    paged: Paged,
    show: Literal["open", "late", "closed", "all"] = "all",
) -> Page[ReferralLine]:
    """Sent by the caller's centre, or received by the caller's organisation. No texts, no names."""
    me, now = who(call), call.parts.clock.now()
    return await call.query(lambda c: queries.referrals(c, paged, me, now, show=show))


@router.get("/referrals/{referral_id}")
async def referral(referral_id: Id, call: PartyReads) -> ReferralView:
    """One referral with what was written. The reading is written in the audit log."""
    me = who(call)
    return await call.command(lambda tx: queries.read_referral(tx, me, referral_id))


@router.post("/referrals/{referral_id}/request")
async def request(referral_id: Id, body: Requested, call: Sends) -> ReferralState:
    """Ask what was a draft (sender)."""
    return await _act(call, referral_id, Action.REQUEST, _said(body))


@router.post("/referrals/{referral_id}/accept")
async def accept(referral_id: Id, call: PartyWrites, body: Noted | None = None) -> ReferralState:
    """Take it on (receiver)."""
    return await _act(call, referral_id, Action.ACCEPT, _said(body))


@router.post("/referrals/{referral_id}/reject")
async def reject(referral_id: Id, body: Rejected, call: PartyWrites) -> ReferralState:
    """Do not take it on (receiver): not_appropriate, no_capacity, no_longer_needed, already_helped,
    need_met or refused."""
    return await _act(call, referral_id, Action.REJECT, _said(body))


@router.post("/referrals/{referral_id}/reroute")
async def reroute(referral_id: Id, body: Rerouted, call: PartyWrites) -> ReferralState:
    """Ask somebody else (sender); the id stays, the time begins anew."""
    return await _act(call, referral_id, Action.REROUTE, _said(body))


@router.post("/referrals/{referral_id}/start")
async def start(referral_id: Id, call: PartyWrites, body: Noted | None = None) -> ReferralState:
    """Work on it (receiver)."""
    return await _act(call, referral_id, Action.START, _said(body))


@router.post("/referrals/{referral_id}/hold")
async def hold(referral_id: Id, call: PartyWrites, body: Noted | None = None) -> ReferralState:
    """Put it on hold (receiver)."""
    return await _act(call, referral_id, Action.HOLD, _said(body))


@router.post("/referrals/{referral_id}/complete")
async def complete(referral_id: Id, body: Completed, call: PartyWrites) -> ReferralState:
    """Close it with an outcome (receiver): met, partly_met or failed."""
    return await _act(call, referral_id, Action.COMPLETE, _said(body))


@router.post("/referrals/{referral_id}/cancel")
async def cancel(referral_id: Id, body: Cancelled, call: PartyWrites) -> ReferralState:
    """End it (either side)."""
    return await _act(call, referral_id, Action.CANCEL, _said(body))


# -- audit and rules -----------------------------------------------------------------------------


@router.get("/audit")
async def audit(
    call: Leads, paged: Paged, referral_id: Annotated[str, Query(max_length=64)] = ""
) -> Page[AuditLine]:
    """Who read which referral when, the newest first."""
    return await call.query(
        lambda c: queries.audit_log(c, paged, call.centre, referral_id=referral_id)
    )


@router.get("/rules")
async def rules(call: Leads, centre_id: Centre = "") -> list[RuleView]:
    """Deadlines and threshold that hold now, then all that was set."""
    centre, now = call.centre_or(centre_id), call.parts.clock.now()
    return await call.query(lambda c: queries.rules_of(c, centre, now))


@router.post("/rules", status_code=201)
async def set_rules(body: NewRule, call: Rules) -> list[RuleView]:
    """Set deadlines or the threshold of the counts from a time on."""
    me, centre, now = who(call), call.centre_or(body.centre_id), call.parts.clock.now()
    await call.command(lambda tx: commands.set_rules(tx, me, body, centre_id=centre), centre=centre)
    return await call.query(lambda c: queries.rules_of(c, centre, now))


async def _act(call: Call, referral_id: str, action: Action, saying: Saying) -> ReferralState:
    me: Who = who(call)
    return await call.command(lambda tx: commands.act_on(tx, me, referral_id, action, saying))


def _said(body: Noted | None) -> Saying:
    return Saying(**body.model_dump(mode="json")) if body else Saying()
