"""The register on paper's terms: one form, a large row for each, works without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, Response

from activities import commands, queries, store
from activities.access import by
from activities.commands.registers import MOST, may_be_taken
from activities.pages.parts import Staff, by_the_clocks_of
from activities.queries import RegisterRow
from contracts import Id
from messaging import Transaction
from web import Call, Form

router = APIRouter()


class RegisterForm(BaseModel):
    """``person_id`` is everybody on the sheet, ``present`` those ticked.

    ``look``, or a name that was typed, says that somebody is to be looked for: nothing is saved
    then. (Enter in the field of the name presses the form's first button, that of saving.)
    """

    person_id: Annotated[list[Id], Field(max_length=MOST)] = []
    present: Annotated[list[Id], Field(max_length=MOST)] = []
    revision: int = 0
    name: Annotated[str, Field(max_length=100)] = ""
    look: str = ""

    @property
    def looking(self) -> bool:
        return bool(self.look or self.name)


@dataclass(frozen=True)
class Row:
    """A row of the sheet: a person, whether they had a place, and whether they are ticked."""

    person_id: str
    name: str
    expected: bool
    present: bool
    known: bool


@router.get("/sessions/{session_id}/register")
async def register(session_id: str, call: Staff) -> HTMLResponse:
    return await _sheet(call, session_id, None)


@router.post("/sessions/{session_id}/register")
async def take_register(session_id: str, call: Staff) -> Response:
    who = by(call)
    form = await call.form(RegisterForm)
    if form.ok and form.data.looking:
        return await _sheet(call, session_id, form)

    def work(tx: Transaction) -> commands.RegisterMade:
        data = form.data
        named = dict.fromkeys(data.person_id, False) | dict.fromkeys(data.present, True)
        return commands.take_register(tx, who, session_id, named, seen_revision=data.revision)

    await form.command(work)
    if form.ok:
        return call.redirect(f"/activities/sessions/{session_id}/register")
    return await _sheet(call, session_id, form)


async def _sheet(call: Call, session_id: str, form: Form[RegisterForm] | None) -> HTMLResponse:
    """The sheet as it lies in the store, or as it was sent with what was ticked."""
    who, now = by(call), call.parts.clock.now()
    typed: dict[str, Any] = form.values if form else {}
    named = [*typed.get("person_id", []), *typed.get("present", [])]
    ticked = set(typed.get("present", []))
    looking = form is not None and form.model is not None and form.data.looking
    name = str(typed.pop("name", ""))  # the field is empty again, so that the next button saves

    def read(c: sa.Connection) -> dict[str, Any]:
        view = queries.session(c, who, session_id)
        rows = queries.register(c, session_id)
        on_sheet = {row.person_id for row in rows}
        added = {
            person_id: person
            for person_id, person in store.people(c, set(named) - on_sheet).items()
            if person.centre_id == view.centre_id
        }
        found = store.people_named(c, view.centre_id, name) if looking else []
        shown = on_sheet | added.keys()
        return {
            "session": view,
            "rows": [
                *(_row(row, ticked if form else None) for row in rows),
                *(Row(id_, p.name, False, id_ in ticked, True) for id_, p in added.items()),
            ],
            "found": [person for person in found if person.person_id not in shown],
        }

    sheet = await call.query(read)
    view = sheet["session"]
    zone = await by_the_clocks_of(call, view.centre_id)
    return call.render(
        "activities/register.html",
        form.status if form else 200,
        form=form or call.blank(RegisterForm, {"revision": view.register_revision}),
        open=view.state == "scheduled" and may_be_taken(view.starts_at, now, zone),
        looked=looking,
        **sheet,
    )


def _row(row: RegisterRow, ticked: set[str] | None) -> Row:
    present = row.person_id in ticked if ticked is not None else bool(row.present)
    name = row.person.name if row.person else ""
    return Row(row.person_id, name, row.expected, present, row.person is not None)
