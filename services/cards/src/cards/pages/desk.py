"""The desk: one box that finds a household by name, phone, card number or scanned card."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from cards import queries
from cards.domain.card import digest_of, number_of
from cards.pages.common import AtDesk
from web.call import Call
from web.forms import Form
from web.paging import Page, Paging

router = APIRouter(prefix="/cards")

SHOWN = 20


class Looked(BaseModel):
    """What was typed or scanned. ``after`` is where the list goes on."""

    text: str = Field(default="", max_length=200)
    after: str = Field(default="", max_length=500)


@router.get("")
@router.get("/")
async def front(call: AtDesk) -> Response:
    return call.redirect("/cards/desk")


@router.get("/desk")
async def desk(call: AtDesk) -> Response:
    return _page(call, call.blank(Looked), None)


@router.post("/desk")
async def find(call: AtDesk) -> Response:
    """By POST, so that no name is ever part of an address. One card or one household found opens
    at once, unless somebody is still typing."""
    form = await call.form(Looked)
    if not form.ok:
        return _page(call, form, None)
    text, after = form.data.text, form.data.after
    typing = "x-live" in call.request.headers
    if digest_of(text) or number_of(text):
        now = call.parts.clock.now()
        card = await call.query(
            lambda c: queries.card_by(c, call.centre, token=text, number=text, now=now)
        )
        if card is not None and not typing:
            return call.redirect(f"/cards/households/{card.household_id}")
    paging = Paging(after, SHOWN)
    found = await call.query(lambda c: queries.search(c, call.centre, text, paging))
    if len(found.items) == 1 and not found.next and not after and not typing:
        return call.redirect(f"/cards/households/{found.items[0].id}")
    return _page(call, form, found)


@router.get("/households")
async def everybody(call: AtDesk, after: str = "") -> Response:
    """All households of the centre, in parts."""
    page = await call.query(
        lambda c: queries.households(c, call.centre, Paging(after[:500], SHOWN))
    )
    return call.render("households.html", page=page)


def _page(call: Call, form: Form[Looked], found: Page[queries.HouseholdFound] | None) -> Response:
    return call.render("desk.html", form.status, form=form, found=found)
