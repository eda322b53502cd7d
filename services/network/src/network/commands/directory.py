"""The directory: organisations and what they offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from contracts.network import OrganisationRegistered
from messaging import Transaction
from network import store
from network.commands.shared import organisation_for, other_content
from network.domain.words import Capacity
from network.models import NewOrganisation, NewService, OrganisationFields, ServiceFields
from network.store import Who
from runtime.refusals import N_, NotAllowed, NotFound, Refusal


def register_organisation(tx: Transaction, who: Who, asked: NewOrganisation) -> str:
    """Put an organisation into the directory of the centre (or of the whole foundation).

    The same id with the same content is the same organisation. Emits OrganisationRegistered.
    """
    centre_id = who.centre_id or asked.centre_id
    organisation_id = asked.id or tx.ids.new()
    columns = _columns(asked)
    row = {
        "id": organisation_id,
        "centre_id": centre_id,
        **columns,
        "registered_at": tx.now,
        "changed_at": tx.now,
    }
    if not store.inserted(tx.connection, store.organisation, row):
        there = store.load(tx.connection, store.organisation, organisation_id)
        same = {"centre_id": centre_id, **columns}
        if there is None or any(there[name] != value for name, value in same.items()):
            raise other_content()
        return organisation_id
    _save_reach(tx, organisation_id, asked)
    _tell(tx, row)
    return organisation_id


def organisation_changed_meanwhile() -> Refusal:
    """Somebody else changed the organisation since it was looked at."""
    return Refusal(
        "organisation.changed_meanwhile",
        N_("Somebody else has changed this organisation meanwhile."),
        N_("Look at it as it is now, with what you typed, then save again."),
    )


def service_changed_meanwhile() -> Refusal:
    """Somebody else changed the service since it was looked at."""
    return Refusal(
        "service.changed_meanwhile",
        N_("Somebody else has changed this service meanwhile."),
        N_("Look at it as it is now, with what you typed, then save again."),
    )


def change_organisation(
    tx: Transaction,
    who: Who,
    organisation_id: str,
    asked: OrganisationFields,
    *,
    seen: Mapping[str, Any] | None = None,
) -> None:
    """Correct an organisation of the own centre; those of the foundation only it changes.

    ``seen`` is what the caller looked at, by field: when it is different by now, nothing is
    written, and Refusal("organisation.changed_meanwhile") is raised.
    """
    row = organisation_for(tx.connection, organisation_id, who.centre_id, lock=True)
    _own(row, who)
    if seen is not None and seen != {name: row[name] for name in OrganisationFields.model_fields}:
        raise organisation_changed_meanwhile()
    columns = _columns(asked)
    store.change(
        tx.connection, store.organisation, organisation_id, {**columns, "changed_at": tx.now}
    )
    _save_reach(tx, organisation_id, asked)
    if columns["name"] != row["name"] or columns["areas"] != row["areas"]:
        _tell(tx, row | columns)


def register_service(tx: Transaction, who: Who, organisation_id: str, asked: NewService) -> str:
    """Add a service to an organisation."""
    _own(organisation_for(tx.connection, organisation_id, who.centre_id), who)
    service_id = asked.id or tx.ids.new()
    columns = asked.model_dump(mode="json", exclude={"id"})
    row = {
        "id": service_id,
        "organisation_id": organisation_id,
        **columns,
        "capacity_at": tx.now,
        "registered_at": tx.now,
        "changed_at": tx.now,
    }
    if not store.inserted(tx.connection, store.service, row):
        there = store.load(tx.connection, store.service, service_id)
        same = {"organisation_id": organisation_id, **columns}
        if there is None or any(there[name] != value for name, value in same.items()):
            raise other_content()
    return service_id


def change_service(
    tx: Transaction,
    who: Who,
    service_id: str,
    asked: ServiceFields,
    *,
    seen: Mapping[str, Any] | None = None,
) -> None:
    """Correct a service. ``seen`` as for an organisation: Refusal("service.changed_meanwhile")."""
    row = _service(tx, who, service_id)
    _own(organisation_for(tx.connection, row["organisation_id"], who.centre_id), who)
    if seen is not None and seen != {name: row[name] for name in ServiceFields.model_fields}:
        raise service_changed_meanwhile()
    columns = asked.model_dump(mode="json", exclude={"id"})
    said = {"capacity_at": tx.now} if columns["capacity"] != row["capacity"] else {}
    store.change(
        tx.connection, store.service, service_id, {**columns, **said, "changed_at": tx.now}
    )


def say_capacity(tx: Transaction, who: Who, service_id: str, capacity: Capacity) -> None:
    """Say whether the service can take somebody: its organisation for itself, or who keeps the
    directory of the centre."""
    row = _service(tx, who, service_id)
    own = who.organisation_id and who.organisation_id == row["organisation_id"]
    if not own:
        if not who.editor:
            raise _unknown_service()
        _own(organisation_for(tx.connection, row["organisation_id"], who.centre_id), who)
    store.change(
        tx.connection,
        store.service,
        service_id,
        {"capacity": capacity, "capacity_at": tx.now, "changed_at": tx.now},
    )


def _service(tx: Transaction, who: Who, service_id: str) -> dict[str, Any]:
    row = store.load(tx.connection, store.service, service_id, lock=True)
    if row is None:
        raise _unknown_service()
    organisation_for(tx.connection, row["organisation_id"], who.centre_id)
    return row


def _unknown_service() -> NotFound:
    return NotFound(
        "service.unknown",
        N_("This service is not in the directory."),
        N_("Look for it in the directory of organisations."),
    )


def _own(row: dict[str, Any], who: Who) -> None:
    if who.centre_id and row["centre_id"] != who.centre_id:
        raise NotAllowed(
            "organisation.of_the_foundation",
            N_("This organisation serves all centres: only the foundation changes it."),
            N_("Write to the administrator of the foundation."),
        )


def _columns(asked: OrganisationFields) -> dict[str, Any]:
    columns = asked.model_dump(mode="json", exclude={"id", "centre_id"})
    for name in ("areas", "zones", "languages"):
        columns[name] = sorted(set(columns[name]))
    return columns


def _save_reach(tx: Transaction, organisation_id: str, asked: OrganisationFields) -> None:
    reach = store.organisation_reach
    tx.connection.execute(sa.delete(reach).where(reach.c.organisation_id == organisation_id))
    rows = [
        {"kind": kind, "value": value, "organisation_id": organisation_id}
        for kind, values in (("area", asked.areas), ("zone", asked.zones))
        for value in sorted(set(values))
    ]
    if rows:
        tx.connection.execute(sa.insert(reach), rows)


def _tell(tx: Transaction, row: dict[str, Any]) -> None:
    tx.emit(
        OrganisationRegistered(
            organisation_id=row["id"],
            name=row["name"],
            areas=tuple(row["areas"]),
            registered_at=row["registered_at"],
        ),
        centre=row["centre_id"],
    )
