"""The page of a session: sign up, answer an offer, "I can't come"; for the staff its lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, Response

from activities import commands, queries, store
from activities.access import by
from activities.commands import By
from activities.commands.planning import LARGEST
from activities.commands.registers import may_be_taken
from activities.commands.sign_ups import HIGHEST_PRIORITY
from activities.domain.waiting_list import LIVE
from activities.pages.parts import Reader, SignsUp, Staff, by_the_clocks_of, is_staff
from contracts import Id
from messaging import Transaction
from runtime.refusals import NotFound, Refusal
from web import Call, Form, local_path

router = APIRouter()


class SignUpForm(BaseModel):
    person_ids: list[Id] = []
    together: bool = False
    priority: Annotated[int, Field(ge=0, le=HIGHEST_PRIORITY)] = 0
    household: str = ""


class CapacityForm(BaseModel):
    capacity: Annotated[int, Field(ge=1, le=LARGEST)]


class CancelForm(BaseModel):
    reason: Annotated[str, Field(max_length=500)] = ""


class FindForm(BaseModel):
    name: Annotated[str, Field(min_length=2, max_length=100)]


class BackForm(BaseModel):
    back: str = ""


@router.get("/sessions/{session_id}")
async def session(
    session_id: str, call: Reader, household: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """A session; the staff sign up for a ``household`` (an opaque id)."""
    return await _page(call, session_id, household=household)


@router.post("/sessions/{session_id}/sign-up")
async def sign_up(session_id: str, call: SignsUp) -> Response:
    who = by(call)
    form = await call.form(SignUpForm)

    def work(tx: Transaction) -> list[commands.SignUpMade]:
        data = form.data
        return commands.sign_up(
            tx,
            who,
            session_id,
            data.person_ids,
            together=data.together,
            priority=data.priority,
        )

    await form.command(work)
    household = str(form.values.get("household", "")) if is_staff(call) else ""
    if form.ok:
        return call.redirect(_at(session_id, household))
    return await _page(call, session_id, household=household, sign_up=form)


@router.post("/sessions/{session_id}/find")
async def find(session_id: str, call: Staff) -> HTMLResponse:
    """People whose name begins so; by POST, since names do not belong in addresses."""
    return await _page(call, session_id, find=await call.form(FindForm))


@router.post("/sessions/{session_id}/capacity")
async def set_capacity(session_id: str, call: Staff) -> Response:
    who = by(call)
    form = await call.form(CapacityForm)
    await form.command(lambda tx: commands.set_capacity(tx, who, session_id, form.data.capacity))
    if form.ok:
        return call.redirect(_at(session_id))
    return await _page(call, session_id, capacity=form)


@router.post("/sessions/{session_id}/cancel")
async def cancel_session(session_id: str, call: Staff) -> Response:
    who = by(call)
    form = await call.form(CancelForm)
    await form.command(lambda tx: commands.cancel_session(tx, who, session_id, form.data.reason))
    if form.ok:
        return call.redirect(_at(session_id))
    return await _page(call, session_id, cancel=form)


@router.post("/sign-ups/{sign_up_id}/accept")
async def accept(sign_up_id: str, call: SignsUp) -> Response:
    return await _answer(call, sign_up_id, commands.accept)


@router.post("/sign-ups/{sign_up_id}/decline")
async def decline(sign_up_id: str, call: SignsUp) -> Response:
    return await _answer(call, sign_up_id, commands.decline)


@router.post("/sign-ups/{sign_up_id}/cancel")
async def cancel(sign_up_id: str, call: SignsUp) -> Response:
    return await _answer(call, sign_up_id, commands.cancel)


async def _answer(
    call: Call,
    sign_up_id: str,
    command: Callable[[Transaction, By, str], commands.SignUpMade],
) -> Response:
    """Answer, and go back to where the button was; a refusal is told on the session's page."""
    who = by(call)
    form = await call.form(BackForm)
    try:
        made = await call.command(lambda tx: command(tx, who, sign_up_id))
    except NotFound:
        raise
    except Refusal as refusal:
        form.refuse(refusal)
    else:
        back = str(form.values.get("back", ""))
        wanted = local_path(back, "")
        inside = wanted.startswith("/activities/")
        return call.redirect(wanted if inside else _at(made.session_id))
    session_id = await call.query(
        lambda c: c.execute(
            sa.select(store.sign_up.c.session_id).where(store.sign_up.c.id == sign_up_id)
        ).scalar_one()
    )
    return await _page(call, session_id, answer=form)


def _at(session_id: str, household: str = "") -> str:
    path = f"/activities/sessions/{session_id}"
    return f"{path}?household={household}" if household else path


async def _page(
    call: Call, session_id: str, *, household: str = "", **forms: Form[Any]
) -> HTMLResponse:
    """The page with these forms as they were sent; the others are blank."""
    who, now = by(call), call.parts.clock.now()
    staff = is_staff(call)
    find = forms.get("find")

    def read(c: sa.Connection) -> dict[str, Any]:
        view = queries.session(c, who, session_id)
        people = []
        if staff and household:
            queries.household_centre(c, who, household)
            people = store.household_people(c, household)
        elif who.household_id:
            people = store.household_people(c, who.household_id, who.centre_id)
        sign_ups = queries.sign_ups(c, session_id, who.household_id)
        live = {s.sign_up.person_id for s in sign_ups if s.sign_up.state in LIVE}
        found = (
            store.people_named(c, view.centre_id, find.data.name)
            if find is not None and find.ok
            else []
        )
        return {
            "session": view,
            "people": [person for person in people if person.person_id not in live],
            "sign_ups": sign_ups,
            "found": found,
        }

    found = await call.query(read)
    view = found["session"]
    zone = await by_the_clocks_of(call, view.centre_id)
    blanks: Mapping[str, Form[Any]] = {
        "sign_up": call.blank(SignUpForm, {"household": household, "priority": 0}),
        "find": call.blank(FindForm),
        "capacity": call.blank(CapacityForm, {"capacity": view.capacity}),
        "cancel": call.blank(CancelForm),
        "answer": call.blank(BackForm),
    }
    status = max((form.status for form in forms.values()), default=200)
    return call.render(
        "activities/session.html",
        status,
        forms={**blanks, **forms},
        staff=staff,
        family=bool(who.household_id),
        household=household,
        open=view.open(now),
        begun=view.begun(now),
        register_open=view.state == "scheduled" and may_be_taken(view.starts_at, now, zone),
        back=_at(session_id, household),
        **found,
    )
