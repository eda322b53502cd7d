"""Centres: opened by administrators of the whole foundation, and never closed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import available_timezones

import sqlalchemy as sa

from contracts.identity import CentreOpened, Role
from identity import store
from identity.domain.accounts import LANGUAGES, OPAQUE, Asker
from identity.domain.hours import Hours
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotAllowed, NotFound, Refusal
from runtime.store import upsert


@dataclass(frozen=True)
class NewCentre:
    """What a centre is to be; ``id`` empty means one of ours."""

    name: str
    id: str = ""
    time_zone: str = "Europe/Rome"
    region: str = "IT-MI"
    languages: tuple[str, ...] = LANGUAGES


def open_centre(tx: Transaction, asker: Asker, wanted: NewCentre) -> str:
    """Open a centre and tell everybody. Returns its id.

    The same id with the same content is the same centre and changes nothing; with other content it
    raises Refusal("centre.id_taken").
    """
    if Role.ADMINISTRATOR not in asker.roles or asker.centre_id:
        raise NotAllowed(
            "centre.foundation_only",
            N_("Only an administrator of the whole foundation can open a centre."),
            N_("Ask the foundation."),
        )
    _check(wanted)
    centre_id = wanted.id or tx.ids.new()
    row = tx.connection.execute(
        sa.select(store.centre).where(store.centre.c.id == centre_id)
    ).first()
    if row is not None:
        known = NewCentre(row.name, row.id, row.time_zone, row.region, tuple(row.languages))
        if known == wanted:
            return centre_id
        raise Refusal(
            "centre.id_taken",
            N_("There is a centre with this identifier already."),
            N_("Choose another identifier, or leave it empty."),
            field="id",
        )
    tx.connection.execute(
        sa.insert(store.centre).values(
            id=centre_id,
            name=wanted.name,
            time_zone=wanted.time_zone,
            region=wanted.region,
            languages=list(wanted.languages),
            opened_at=tx.now,
        )
    )
    tx.emit(
        CentreOpened(
            centre_id=centre_id,
            name=wanted.name,
            time_zone=wanted.time_zone,
            region=wanted.region,
            languages=wanted.languages,
            opened_at=tx.now,
        ),
        centre=centre_id,
    )
    return centre_id


@dataclass(frozen=True)
class Words:
    """What a centre says of itself to everybody: ``about`` by language, hours by weekday."""

    about: Mapping[str, str]
    hours: Hours
    address: str = ""
    directions: str = ""
    phone: str = ""


def say_of_itself(tx: Transaction, centre_id: str, words: Words) -> None:
    """Write what stands on the public home of a centre. Raises NotFound."""
    if not store.centre_name(tx.connection, centre_id):
        raise NotFound("centre.unknown", N_("There is no such centre."))
    upsert(
        tx.connection,
        store.centre_words,
        [
            {
                "centre_id": centre_id,
                "about": {code: text for code, text in words.about.items() if text},
                "hours": {day: list(spans) for day, spans in words.hours.items() if spans},
                "address": words.address,
                "directions": words.directions,
                "phone": words.phone,
                "changed_at": tx.now,
            }
        ],
        key=("centre_id",),
    )


def _check(wanted: NewCentre) -> None:
    if not wanted.name.strip():
        raise Invalid(
            "centre.without_name",
            N_("The centre has no name."),
            N_("Write its name."),
            field="name",
        )
    if wanted.id and not OPAQUE.fullmatch(wanted.id):
        raise Invalid(
            "centre.id_malformed",
            N_("This cannot be an identifier."),
            N_("Use letters, digits, dots and hyphens, or leave it empty."),
            field="id",
        )
    if wanted.time_zone not in available_timezones():
        raise Invalid(
            "centre.time_zone",
            N_("There is no such time zone."),
            N_("Write it like Europe/Rome."),
            field="time_zone",
        )
    if not wanted.languages or set(wanted.languages) - set(LANGUAGES):
        raise Invalid(
            "centre.languages",
            N_("The pages do not speak one of these languages."),
            N_("Choose among: {languages}."),
            field="languages",
            languages=", ".join(LANGUAGES),
        )
