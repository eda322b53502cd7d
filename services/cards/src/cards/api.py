"""The HTTP API of cards: JSON, for the shop's devices, imports and other programs.

Who may what: the desk (reception, coordinator, administrator) reads and writes households and
cards; coordinators and administrators give and take points by hand, set rules and erase; the till
looks up a card and reads points; a family reads its own points. What belongs to another centre is
not there (404).
"""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from cards import commands, models, queries
from cards.access import COUNTER, DESK, LEADS
from cards.domain.card import digest_of, new_token
from contracts.cards import Purpose
from runtime.refusals import N_, Invalid, NotFound
from web.auth import allow
from web.call import Call
from web.paging import Page, Paged
from web.roles import Role

READ = "cards:read"
WRITE = "cards:write"

router = APIRouter(prefix="/cards/api", tags=["cards"])

Id = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
DeskReads = Annotated[Call, Depends(allow(*DESK, scope=READ))]
DeskWrites = Annotated[Call, Depends(allow(*DESK, scope=WRITE))]
LeadsWrite = Annotated[Call, Depends(allow(*LEADS, scope=WRITE))]
TillReads = Annotated[Call, Depends(allow(*COUNTER, scope=READ))]
PointsRead = Annotated[Call, Depends(allow(*COUNTER, Role.FAMILY, scope=READ))]


class CardHandedOut(BaseModel):
    """A new card. ``token`` is what its QR says: given this once, kept nowhere."""

    id: str
    household_id: str
    number: str = Field(examples=["401234567896"])
    token: str | None = Field(
        description="null when this answer is a repetition: replace the card if it was not seen."
    )


class PointsNow(BaseModel):
    """What a household has after a change."""

    available: int
    held: int


# -- households ------------------------------------------------------------------------------------


@router.post("/households", status_code=201)
async def register(body: models.HouseholdNew, call: DeskWrites) -> queries.HouseholdSeen:
    """Register a household with its members, zone and consents."""
    household_id = await call.command(lambda tx: commands.register_household(tx, body))
    return await _household(call, household_id)


@router.get("/households")
async def list_households(call: DeskReads, paging: Paged) -> Page[queries.HouseholdFound]:
    """The households of the centre, in the order of their registration."""
    return await call.query(lambda c: queries.households(c, call.centre, paging))


@router.post("/households/search")
async def search(
    body: models.Search, call: DeskReads, paging: Paged
) -> Page[queries.HouseholdFound]:
    """Find by the beginnings of names, by phone or by card number. POST, so that no name is ever
    part of an address."""
    return await call.query(lambda c: queries.search(c, call.centre, body.text, paging))


@router.get("/households/{household_id}")
async def show(household_id: Id, call: DeskReads) -> queries.HouseholdSeen:
    """A household with its members, consents and cards."""
    return await _household(call, household_id)


@router.patch("/households/{household_id}")
async def change(
    household_id: Id, body: models.HouseholdChange, call: DeskWrites
) -> queries.HouseholdSeen:
    """Change zone and members; what is left out stays as it is."""
    await call.command(lambda tx: commands.change_household(tx, household_id, body))
    return await _household(call, household_id)


@router.delete("/households/{household_id}", status_code=204)
async def erase(household_id: Id, call: LeadsWrite) -> Response:
    """Forget a household: its people everywhere, its cards and free points."""
    await call.command(lambda tx: commands.erase_household(tx, household_id))
    return Response(status_code=204)


@router.put("/households/{household_id}/consents/{purpose}")
async def give_consent(
    household_id: Id, purpose: Purpose, call: DeskWrites
) -> queries.HouseholdSeen:
    """The holder agrees to a purpose."""
    await call.command(lambda tx: commands.give_consent(tx, household_id, purpose))
    return await _household(call, household_id)


@router.delete("/households/{household_id}/consents/{purpose}")
async def withdraw_consent(
    household_id: Id, purpose: Purpose, call: DeskWrites
) -> queries.HouseholdSeen:
    """The holder withdraws a consent."""
    await call.command(lambda tx: commands.withdraw_consent(tx, household_id, purpose))
    return await _household(call, household_id)


@router.post("/households/{household_id}/members/{person_id}/stage")
async def change_stage(
    household_id: Id, person_id: Id, body: models.StageNew, call: DeskWrites
) -> queries.HouseholdSeen:
    """A person moves on (or back) on the path."""
    await call.command(lambda tx: commands.change_stage(tx, household_id, person_id, body.stage))
    return await _household(call, household_id)


@router.get("/households/{household_id}/timeline")
async def timeline(household_id: Id, call: DeskReads, paging: Paged) -> Page[queries.Happened]:
    """Everything that happened around a household, the latest first; of the reader's own what a
    family reads of it."""
    await _visible(call, household_id)
    own = call.caller.household_id == household_id
    read = queries.told_to_family if own else queries.timeline
    return await call.query(lambda c: read(c, household_id, paging))


# -- cards -----------------------------------------------------------------------------------------


@router.post("/households/{household_id}/cards", status_code=201)
async def issue(household_id: Id, call: DeskWrites) -> CardHandedOut:
    """Hand out a card."""
    token, digest = _token()
    issued = await call.command(lambda tx: commands.issue_card(tx, household_id, digest))
    return _handed_out(issued, token, digest)


@router.post("/cards/lookup")
async def lookup(body: models.Lookup, call: TillReads) -> queries.CardFound:
    """Whose card a scanned token or a number is, and what it can spend."""
    if bool(body.token) == bool(body.number):
        raise Invalid(
            "card.token_or_number",
            N_("Give the scanned token or the number of a card, one of the two."),
            N_("Scan the card again, or type the number printed on it."),
            field="token",
        )
    now = call.parts.clock.now()
    found = await call.query(
        lambda c: queries.card_by(c, call.centre, token=body.token, number=body.number, now=now)
    )
    if found is None:
        raise no_card()
    return found


@router.post("/cards/{card_id}/block")
async def block(card_id: Id, body: models.Block, call: DeskWrites) -> queries.CardSeen:
    """The card opens nothing from now on; points are untouched."""
    await call.command(lambda tx: commands.block_card(tx, card_id, body.reason))
    return await _card(call, card_id)


@router.post("/cards/{card_id}/replace", status_code=201)
async def replace(card_id: Id, call: DeskWrites) -> CardHandedOut:
    """Block a card and hand out a new one for the same household."""
    token, digest = _token()
    issued = await call.command(lambda tx: commands.replace_card(tx, card_id, digest))
    return _handed_out(issued, token, digest)


# -- points ----------------------------------------------------------------------------------------


@router.get("/households/{household_id}/points")
async def points(household_id: Id, call: PointsRead) -> queries.PointsSeen:
    """What a household can spend, what is held, and what expires when."""
    await _visible(call, household_id)
    now = call.parts.clock.now()
    return await call.query(lambda c: queries.points(c, household_id, now))


@router.get("/households/{household_id}/points/entries")
async def entries(household_id: Id, call: PointsRead, paging: Paged) -> Page[queries.EntrySeen]:
    """The ledger of a household, the latest first."""
    await _visible(call, household_id)
    return await call.query(lambda c: queries.entries(c, household_id, paging))


@router.post("/households/{household_id}/points/adjustments", status_code=201)
async def adjust(household_id: Id, body: models.Adjustment, call: LeadsWrite) -> PointsNow:
    """Give or take points by hand, with a reason."""
    now = await call.command(lambda tx: commands.adjust_points(tx, household_id, body))
    return PointsNow(available=now.available, held=now.held)


@router.get("/points/uncovered")
async def uncovered(
    call: Annotated[Call, Depends(allow(*LEADS, scope=READ))], paging: Paged
) -> Page[queries.UncoveredSeen]:
    """Points that had to be booked and that no household had: somebody should look."""
    return await call.query(lambda c: queries.uncovered(c, call.centre, paging))


@router.post("/earning-rules", status_code=201)
async def set_rule(body: models.RuleNew, call: LeadsWrite) -> queries.RuleSeen:
    """From a time on, points are earned by this rule. Earlier rules stay as they were."""
    rule_id = await call.command(lambda tx: commands.set_earning_rule(tx, body))
    return await call.query(lambda c: queries.rule(c, rule_id))


@router.get("/earning-rules")
async def list_rules(call: DeskReads, paging: Paged) -> Page[queries.RuleSeen]:
    """The earning rules of the centre, the latest beginning first."""
    return await call.query(lambda c: queries.rules(c, call.centre, paging))


def no_household() -> NotFound:
    """There is no such household, or none that the caller may know of."""
    return NotFound(
        "household.unknown",
        N_("This household is not known here."),
        N_("Look for it at the desk by name, phone or card."),
    )


def no_card() -> NotFound:
    """There is no such card, or none that the caller may know of."""
    return NotFound(
        "card.unknown",
        N_("This card is not known here."),
        N_("Check the number, or look for the household by name."),
    )


async def _visible(call: Call, household_id: str) -> None:
    """The caller's centre has it; a family only its own. Else it is not there.

    A family that works in the house by another role than these is a family here.
    """

    def may(connection: sa.Connection) -> bool:
        return queries.visible(connection, household_id, call.centre)

    own = call.caller.has(*COUNTER) or call.caller.household_id == household_id
    if not own or not await call.query(may):
        raise no_household()


async def _household(call: Call, household_id: str) -> queries.HouseholdSeen:
    found = await call.query(lambda c: queries.household(c, household_id))
    if found is None or call.centre not in ("", found.centre_id):
        raise no_household()
    return found


async def _card(call: Call, card_id: str) -> queries.CardSeen:
    return await call.query(lambda c: queries.card(c, card_id))


def _token() -> tuple[str, str]:
    token = new_token()
    digest = digest_of(token)
    assert digest is not None
    return token, digest


def _handed_out(issued: commands.IssuedCard, token: str, digest: str) -> CardHandedOut:
    """The token is told only if it is the one that was kept: a repetition has made another."""
    return CardHandedOut(
        id=issued.id,
        household_id=issued.household_id,
        number=issued.number,
        token=token if issued.token_digest == digest else None,
    )
