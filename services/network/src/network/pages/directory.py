"""The directory: find an organisation, see what it offers, keep it right."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, BeforeValidator, Field, Json
from starlette.responses import Response

from network import commands, queries
from network.callers import EDITORS, who
from network.models import (
    CapacityNow,
    Language,
    NewOrganisation,
    NewService,
    OrganisationFields,
    OrganisationView,
    ServiceFields,
    ServiceView,
    Zone,
)
from network.pages.shared import Edits, Reads, SaysCapacity, show
from runtime.refusals import N_, NotFound
from web import Call, Form, Paged, forms

router = APIRouter()

Id = Annotated[str, Path(min_length=1, max_length=64)]


def _parts(typed: Any) -> Any:
    """One in each line, or with commas between."""
    if not isinstance(typed, list):
        return typed
    parts = [part.strip() for text in typed for part in re.split(r"[\n,;]", str(text))]
    return [part for part in parts if part]


class OrganisationForm(OrganisationFields):
    zones: Annotated[list[Zone], BeforeValidator(_parts)] = Field(default=[], max_length=100)
    languages: Annotated[list[Language], BeforeValidator(_parts)] = Field(default=[], max_length=40)


class ServiceForm(ServiceFields):
    languages: Annotated[list[Language], BeforeValidator(_parts)] = Field(default=[], max_length=40)


class OrganisationEdit(OrganisationForm):
    """The form of an organisation that is there; what it showed travels with it."""

    seen: Json[dict[str, Any]]


class ServiceEdit(ServiceForm):
    """The form of a service that is there; what it showed travels with it."""

    seen: Json[dict[str, Any]]


@router.get("/network/organisations")
async def listed(
    call: Reads,
    paged: Paged,
    area: Annotated[str, Query(max_length=40)] = "",
    zone: Annotated[str, Query(max_length=80)] = "",
    capacity: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Organisations by name, filtered."""
    page = await call.query(
        lambda c: queries.directory(c, paged, call.centre, area=area, zone=zone, capacity=capacity)
    )
    return show(
        call,
        "organisations.html",
        page=page,
        filter=call.blank(OrganisationForm, {"area": area, "zone": zone, "capacity": capacity}),
        zones=await call.query(lambda c: queries.zones(c, call.centre)),
    )


@router.get("/network/organisations/new")
async def new(call: Edits) -> Response:
    """The form of a new organisation."""
    return _organisation_form(call, call.blank(OrganisationForm), None)


@router.post("/network/organisations/new")
async def register(call: Edits) -> Response:
    """Register, and go to the organisation."""
    form = await call.form(OrganisationForm)
    if form.ok:
        me, asked = who(call), NewOrganisation(**form.data.model_dump())
        made = await form.command(lambda tx: commands.register_organisation(tx, me, asked))
        if made is not None:
            return call.redirect(f"/network/organisations/{made}")
    return _organisation_form(call, form, None)


@router.get("/network/organisations/{organisation_id}")
async def one(organisation_id: Id, call: Reads) -> Response:
    """An organisation with its services."""
    view = await _organisation(call, organisation_id)
    caller = call.caller
    own = caller.has(*EDITORS) or caller.organisation_id == organisation_id
    return show(call, "organisation.html", view=view, may_say_capacity=own)


@router.get("/network/organisations/{organisation_id}/edit")
async def edit(organisation_id: Id, call: Edits) -> Response:
    """The form with what is known."""
    view = await _organisation(call, organisation_id)
    shown = _shown(OrganisationFields, view)
    form = call.blank(OrganisationEdit, forms.showing(shown))
    return _organisation_form(call, form, view)


@router.post("/network/organisations/{organisation_id}/edit")
async def change(organisation_id: Id, call: Edits) -> Response:
    """Save, and go back to the organisation."""
    form = await call.form(OrganisationEdit)
    if form.ok:
        me = who(call)
        asked = OrganisationFields(**form.data.model_dump(exclude={forms.SEEN}))
        await form.command(
            lambda tx: commands.change_organisation(
                tx, me, organisation_id, asked, seen=form.data.seen
            )
        )
    if form.ok:
        return call.redirect(f"/network/organisations/{organisation_id}")
    view = await _organisation(call, organisation_id)
    forms.renew(form, _shown(OrganisationFields, view), commands.organisation_changed_meanwhile())
    return _organisation_form(call, form, view)


@router.get("/network/organisations/{organisation_id}/services/new")
async def new_service(organisation_id: Id, call: Edits) -> Response:
    """The form of a new service."""
    view = await _organisation(call, organisation_id)
    return _service_form(call, call.blank(ServiceForm), view, None)


@router.post("/network/organisations/{organisation_id}/services/new")
async def register_service(organisation_id: Id, call: Edits) -> Response:
    """Add it, and go back to the organisation."""
    view = await _organisation(call, organisation_id)
    form = await call.form(ServiceForm)
    if form.ok:
        me, asked = who(call), NewService(**form.data.model_dump())
        await form.command(lambda tx: commands.register_service(tx, me, organisation_id, asked))
    if form.ok:
        return call.redirect(f"/network/organisations/{organisation_id}")
    return _service_form(call, form, view, None)


@router.get("/network/organisations/{organisation_id}/services/{service_id}")
async def edit_service(organisation_id: Id, service_id: Id, call: Edits) -> Response:
    """The form of a service with what is known."""
    view = await _organisation(call, organisation_id)
    service = _service(view, service_id)
    shown = _shown(ServiceFields, service)
    form = call.blank(ServiceEdit, forms.showing(shown))
    return _service_form(call, form, view, service)


@router.post("/network/organisations/{organisation_id}/services/{service_id}")
async def change_service(organisation_id: Id, service_id: Id, call: Edits) -> Response:
    """Save the service, and go back to the organisation."""
    _service(await _organisation(call, organisation_id), service_id)
    form = await call.form(ServiceEdit)
    if form.ok:
        me = who(call)
        asked = ServiceFields(**form.data.model_dump(exclude={forms.SEEN}))
        await form.command(
            lambda tx: commands.change_service(tx, me, service_id, asked, seen=form.data.seen)
        )
    if form.ok:
        return call.redirect(f"/network/organisations/{organisation_id}")
    view = await _organisation(call, organisation_id)
    service = _service(view, service_id)
    forms.renew(form, _shown(ServiceFields, service), commands.service_changed_meanwhile())
    return _service_form(call, form, view, service)


@router.post("/network/organisations/{organisation_id}/services/{service_id}/capacity")
async def say_capacity(organisation_id: Id, service_id: Id, call: SaysCapacity) -> Response:
    """Say whether the service can take somebody."""
    form = await call.form(CapacityNow)
    if form.ok:
        me, now = who(call), form.data.capacity
        await call.command(lambda tx: commands.say_capacity(tx, me, service_id, now))
    return call.redirect(f"/network/organisations/{organisation_id}")


async def _organisation(call: Call, organisation_id: str) -> OrganisationView:
    return await call.query(lambda c: queries.organisation_view(c, organisation_id, call.centre))


def _service(view: OrganisationView, service_id: str) -> ServiceView:
    for service in view.services:
        if service.id == service_id:
            return service
    raise NotFound("service.unknown", N_("This service is not in the directory."))


def _shown(fields: type[BaseModel], view: BaseModel) -> dict[str, Any]:
    """What a form shows of an organisation or a service, by field."""
    return view.model_dump(mode="json", include=set(fields.model_fields))


def _organisation_form(
    call: Call, form: Form[OrganisationForm] | Form[OrganisationEdit], view: OrganisationView | None
) -> Response:
    _joined(form, "zones", "languages")
    return show(call, "organisation_form.html", form.status, form=form, view=view)


def _service_form(
    call: Call,
    form: Form[ServiceForm] | Form[ServiceEdit],
    view: OrganisationView,
    service: ServiceView | None,
) -> Response:
    _joined(form, "languages")
    return show(call, "service_form.html", form.status, form=form, view=view, service=service)


def _joined(form: Form[Any], *names: str) -> None:
    """Lists that are typed into one field, as they were typed."""
    for name in names:
        value = form.values.get(name, "")
        form.values[name] = ", ".join(value) if isinstance(value, list) else value
