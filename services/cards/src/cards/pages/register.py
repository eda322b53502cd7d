"""Registering a household, and changing its members and zone. One more member is one more row of
the form: a button adds it and everything typed stays (no JavaScript is needed)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, Json, model_validator
from starlette.responses import Response

from cards import commands, models
from cards.domain.household import MOST_MEMBERS
from cards.models import (
    HouseholdChange,
    HouseholdNew,
    HouseholdShown,
    MemberChange,
    MemberShown,
)
from cards.pages.common import AtDesk, Id, centres_of, household_of, labels
from cards.words import PURPOSES
from web import forms
from web.call import Call
from web.forms import Form
from web.translations import NAMES

router = APIRouter(prefix="/cards")

MORE_LANGUAGES = {"zh": "中文", "uk": "Українська", "ro": "Română", "pt": "Português"}
LANGUAGES = [*NAMES.items(), *MORE_LANGUAGES.items()]
"""Languages that the families of the quarter read; messages come in ours or bilingual."""

SHOWN = ("id", "given_name", "family_name", "birth_date", "language", "email", "phone")
"""What a row shows of a member, beside who holds the card."""


class Registration(HouseholdNew):
    """The form of a new household. ``action``: register, or add_member. A family name that was
    left empty is that of the first member."""

    model_config = ConfigDict(extra="ignore")

    action: str = "register"

    @model_validator(mode="before")
    @classmethod
    def _of_one_family(cls, typed: dict[str, Any]) -> dict[str, Any]:
        members = typed.get("members")
        if not isinstance(members, list) or not all(isinstance(m, dict) for m in members):
            return typed  # refused as it is
        first, *others = members or [{}]
        name = first.get("family_name", "")
        named = [{**m, "family_name": m.get("family_name") or name} for m in others]
        return {**typed, "members": [first, *named]}


class MemberRow(MemberChange):
    """A member in the form of a change: an empty contact is taken away; ``leaves`` removes."""

    model_config = ConfigDict(extra="ignore")

    leaves: bool = False


class Changing(BaseModel):
    """The form of a household that changes."""

    zone: models.Zone = ""
    members: list[MemberRow] = Field(default_factory=list, max_length=MOST_MEMBERS)
    action: str = "save"
    seen: Json[HouseholdShown]


@router.get("/households/new")
async def new(call: AtDesk) -> Response:
    return await _registration(call, call.blank(Registration, {"members.0.holder": "yes"}), 1)


@router.post("/households/new")
async def register(call: AtDesk) -> Response:
    form = await call.form(Registration)
    rows = _rows(form.values)
    if form.values.get("action") == "add_member":
        form.errors.clear()
        return await _registration(call, form, min(rows + 1, MOST_MEMBERS))
    made = await form.command(
        lambda tx: commands.register_household(
            tx, HouseholdNew(**form.data.model_dump(exclude={"action"}))
        )
    )
    if made is None:
        return await _registration(call, form, rows)
    return call.redirect(f"/cards/households/{made}")


@router.get("/households/{household_id}/change")
async def changing(household_id: Id, call: AtDesk) -> Response:
    household = await household_of(call, household_id)
    shown = HouseholdShown.model_validate(household)
    return await _change_page(call, household_id, call.blank(Changing, _values(shown)), 0)


@router.post("/households/{household_id}/change")
async def change(household_id: Id, call: AtDesk) -> Response:
    form = await call.form(Changing)
    if form.values.get("action") == "add_member":
        form.errors.clear()
        return await _change_page(call, household_id, form, 1)
    wanted = _wanted(form) if form.ok else None
    handed_over: bool | None = False
    if wanted is not None:
        seen = form.data.seen
        handed_over = await form.command(
            lambda tx: commands.change_household(tx, household_id, wanted, seen=seen)
        )
    if not form.ok:
        now = HouseholdShown.model_validate(await household_of(call, household_id))
        forms.renew(form, now, commands.household_changed_meanwhile(), _values)
        return await _change_page(call, household_id, form, 0)
    done = "?done=handed-over" if handed_over else ""
    return call.redirect(f"/cards/households/{household_id}{done}")


def _values(now: HouseholdShown, typed: Changing | None = None) -> dict[str, Any]:
    """The form of a household as it is now; what was touched in ``typed`` is kept, by member and
    not by row: who left has none any more, who joined has one."""
    zone, joining = now.zone, []
    was: dict[str, dict[str, str]] = {}
    mine: dict[str, dict[str, str]] = {}
    if typed is not None:
        zone = now.zone if typed.zone == typed.seen.zone else typed.zone
        was = {member.id: _row(member) for member in typed.seen.members}
        mine = {row.id: _row(row) for row in typed.members if row.id}
        joining = [_row(row) for row in typed.members if not row.id]
    rows = []
    for member in now.members:
        row = mine.get(member.id, {})
        rows.append(row | forms.untouched(row, was.get(member.id, {}), _row(member)))
    members = {
        f"members.{place}.{name}": value
        for place, row in enumerate(rows + joining)
        for name, value in row.items()
    }
    return forms.showing(now, {"zone": zone, **members})


def _row(member: MemberShown | MemberRow) -> dict[str, str]:
    """A member as the fields of its row."""
    row = {name: str(getattr(member, name) or "") for name in SHOWN}
    leaves = isinstance(member, MemberRow) and member.leaves
    return {**row, "holder": "yes" if member.holder else "", "leaves": "yes" if leaves else ""}


def _wanted(form: Form[Changing]) -> HouseholdChange:
    """What the form asks for: a contact that was emptied is taken away, not left as it is; a new
    member without a family name has that of the first."""
    members, removed = [], []
    for row in form.data.members:
        if row.leaves and row.id:
            removed.append(row.id)
            continue
        if row.leaves:
            continue
        values = row.model_dump(exclude={"leaves"}, exclude_none=True)
        if not row.id and not row.family_name:
            values["family_name"] = form.data.members[0].family_name
        if row.id:
            values = {"language": "", "email": "", "phone": "", "birth_date": None} | values
        members.append(MemberChange(**values))
    return HouseholdChange(zone=form.data.zone, members=members, removed=removed)


def _rows(values: dict[str, Any]) -> int:
    """How many members the form shows: as many as it was sent with, one at least."""
    numbers = [
        int(parts[1])
        for parts in (name.split(".") for name in values)
        if len(parts) == 3 and parts[0] == "members" and parts[1].isascii() and parts[1].isdigit()
    ]
    return min(max(numbers, default=0) + 1, MOST_MEMBERS)


async def _registration(call: Call, form: Form[Registration], rows: int) -> Response:
    return call.render(
        "register.html",
        form.status,
        form=form,
        rows=rows,
        most=MOST_MEMBERS,
        languages_known=LANGUAGES,
        purposes=labels(call, PURPOSES),
        centres=await centres_of(call),
    )


async def _change_page(call: Call, household_id: str, form: Form[Changing], more: int) -> Response:
    household = await household_of(call, household_id)
    return call.render(
        "change.html",
        form.status,
        form=form,
        household=household,
        rows=min(_rows(form.values) + more, MOST_MEMBERS),
        most=MOST_MEMBERS,
        languages_known=LANGUAGES,
    )
