"""Centres: the list, and opening one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from contracts.identity import Role
from identity import edge, queries
from identity.commands import centres, sign_in
from identity.commands.centres import NewCentre
from identity.domain.accounts import LANGUAGES
from runtime.refusals import Invalid
from web import Call, Form, Paged, allow, local_path
from web.translations import NAMES
from web.urls import CENTRE

router = APIRouter(include_in_schema=False)

LIST = "/identity/centres"

Foundation = Annotated[Call, Depends(allow(Role.ADMINISTRATOR))]


class CentreForm(BaseModel):
    """The form of a new centre."""

    name: Annotated[str, Field(max_length=200)]
    id: Annotated[str, Field(max_length=64)] = ""
    time_zone: Annotated[str, Field(max_length=64)] = "Europe/Rome"
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] = "IT-MI"
    languages: list[str] = []


class Choice(BaseModel):
    """The form that says in which centre somebody of the whole foundation works for now."""

    centre_id: Annotated[str, Field(max_length=64)] = ""
    next: Annotated[str, Field(max_length=2000)] = ""


@router.get(CENTRE)
async def choose_page(
    call: Foundation, next: Annotated[str, Query(max_length=2000)] = ""
) -> Response:
    """All centres, to work in one."""
    return await _choose_page(call, call.blank(Choice, {"next": local_path(next, "/identity/")}))


@router.post(CENTRE)
async def choose(call: Foundation) -> Response:
    """Work in a centre, or for the whole foundation again, until another is chosen."""
    if not call.caller.foundation:
        raise sign_in.bound()
    form = await call.form(Choice)
    if form.ok:
        secret, chosen = edge.session_cookie(call), form.data.centre_id
        try:
            issued = await edge.transact(call, lambda tx: sign_in.work_in(tx, secret, chosen))
        except Invalid as refusal:
            form.refuse(refusal)
        else:
            answer = call.redirect(local_path(form.data.next, "/identity/"))
            edge.keep(answer, call.parts, issued)
            return answer
    return await _choose_page(call, form)


async def _choose_page(call: Call, form: Form[Choice]) -> Response:
    if not call.caller.foundation:
        raise sign_in.bound()
    return call.render(
        "centre_choice.html",
        form.status,
        form=form,
        centres=await call.query(queries.centre_names),
        here=CENTRE,
    )


@router.get(LIST)
async def list_page(call: Foundation, paging: Paged) -> Response:
    """The centres."""
    page = await call.query(lambda c: queries.centres(c, paging, call.centre))
    return call.render("centres.html", page=page, list=LIST, opens=not call.centre)


@router.get(f"{LIST}/new")
async def new_page(call: Foundation) -> Response:
    """The form of a new centre."""
    first = {"time_zone": "Europe/Rome", "region": "IT-MI", "languages": list(LANGUAGES)}
    return _form_page(call, call.blank(CentreForm, first))


@router.post(f"{LIST}/new")
async def create(call: Foundation) -> Response:
    """Open a centre."""
    form = await call.form(CentreForm)
    asker = edge.asker(call)
    if form.ok:
        typed = form.data
        wanted = NewCentre(
            typed.name, typed.id, typed.time_zone, typed.region, tuple(typed.languages)
        )
        await form.command(lambda tx: centres.open_centre(tx, asker, wanted))
    if not form.ok:
        return _form_page(call, form)
    return call.redirect(LIST)


def _form_page(call: Call, form: Form[CentreForm]) -> Response:
    choices = [(code, NAMES[code]) for code in LANGUAGES]
    return call.render("centre_form.html", form.status, form=form, choices=choices, list=LIST)
