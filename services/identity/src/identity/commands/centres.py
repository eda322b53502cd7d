"""Centres: opened by administrators of the whole foundation, and never closed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import available_timezones

import sqlalchemy as sa

from contracts.identity import CentreOpened, Role
from identity import store
from identity.domain.accounts import LANGUAGES, OPAQUE, Asker
from identity.domain.hours import Hours
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotAllowed, NotFound, Refusal
from runtime.store import lock_rows, upsert


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

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Words:
        """The words of a row of ``centre_words``."""
        hours = {day: [(begin, end) for begin, end in spans] for day, spans in row.hours.items()}
        return cls(row.about, hours, row.address, row.directions, row.phone)

    @property
    def kept(self) -> Words:
        """As they are kept: a language without a text and a day without hours are not said, and a
        line ends as it does in a form that shows it. (A browser's ends, which earlier versions
        kept, made every later save look like one of something else.)"""
        about = {code: plain(text) for code, text in self.about.items() if plain(text)}
        hours = {day: list(spans) for day, spans in self.hours.items() if spans}
        address, directions = plain(self.address), plain(self.directions)
        return replace(self, about=about, hours=hours, address=address, directions=directions)


def plain(text: str) -> str:
    """A text whose lines end as everywhere, with nothing around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def changed_meanwhile() -> Refusal:
    """Somebody else wrote the words since they were looked at."""
    return Refusal(
        "words.changed_meanwhile",
        N_("Somebody else has changed these words meanwhile."),
        N_("Look at them as they are now, with what you typed, then save again."),
    )


def say_of_itself(
    tx: Transaction, centre_id: str, words: Words, *, seen: Words | None = None
) -> None:
    """Write what stands on the public home of a centre.

    ``seen`` is what the writer looked at: when something else stands there by now, nothing is
    written. Raises NotFound, Refusal (words.changed_meanwhile).
    """
    lock_rows(tx.connection, store.centre, [centre_id])
    if not store.centre_name(tx.connection, centre_id):
        raise NotFound("centre.unknown", N_("There is no such centre."))
    table = store.centre_words
    row = tx.connection.execute(sa.select(table).where(table.c.centre_id == centre_id)).first()
    now = Words({}, {}) if row is None else Words.of(row)
    if seen is not None and seen.kept != now.kept:
        raise changed_meanwhile()
    kept = words.kept
    upsert(
        tx.connection,
        store.centre_words,
        [
            {
                "centre_id": centre_id,
                "about": kept.about,
                "hours": kept.hours,
                "address": kept.address,
                "directions": kept.directions,
                "phone": kept.phone,
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
