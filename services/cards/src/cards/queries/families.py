"""A household as the desk knows it, with members, consents and cards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from cards import store
from contracts.cards import Purpose


class MemberSeen(BaseModel):
    """A member of a household."""

    id: str
    given_name: str
    family_name: str
    birth_date: date | None
    language: str
    email: str
    phone: str
    holder: bool
    stage: str
    stage_at: datetime

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"


class CardSeen(BaseModel):
    """A card. Its token is nowhere to be seen."""

    id: str
    number: str
    state: str
    issued_at: datetime
    blocked_at: datetime | None
    block_reason: str
    replaced_by: str | None


class ConsentSeen(BaseModel):
    """A purpose that the holder agreed to; over when ``withdrawn_at`` is set."""

    purpose: Purpose
    given_at: datetime
    withdrawn_at: datetime | None


class HouseholdSeen(BaseModel):
    """A household as the desk knows it."""

    id: str
    centre_id: str
    holder_id: str
    zone: str
    registered_at: datetime
    changed_at: datetime
    members: list[MemberSeen]
    consents: list[ConsentSeen]
    cards: list[CardSeen]

    @property
    def holder_name(self) -> str:
        """The holder's name; "" while a restored store waits for its people."""
        return next((member.name for member in self.members if member.holder), "")


def visible(connection: sa.Connection, household_id: str, centre_id: str) -> bool:
    """Whether a caller of this centre ("" for all) may know of the household."""
    table = store.household
    found = connection.execute(
        sa.select(table.c.centre_id).where(table.c.id == household_id, table.c.erased_at.is_(None))
    ).scalar_one_or_none()
    return found is not None and centre_id in ("", found)


def household(connection: sa.Connection, household_id: str) -> HouseholdSeen | None:
    """A household with its members, consents and cards; None when unknown or erased."""
    table = store.household
    row = connection.execute(
        sa.select(table).where(table.c.id == household_id, table.c.erased_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    return HouseholdSeen(
        id=row.id,
        centre_id=row.centre_id,
        holder_id=row.holder_id,
        zone=row.zone,
        registered_at=row.registered_at,
        changed_at=row.changed_at,
        members=[
            MemberSeen(**member, holder=member["id"] == row.holder_id)
            for member in _members(connection, household_id)
        ],
        consents=_consents(connection, household_id),
        cards=cards(connection, household_id),
    )


def cards(connection: sa.Connection, household_id: str) -> list[CardSeen]:
    """The cards of a household, the latest first."""
    table = store.card
    rows = connection.execute(
        sa.select(table).where(table.c.household_id == household_id).order_by(table.c.id.desc())
    )
    return [CardSeen.model_validate(dict(row)) for row in rows.mappings()]


def card(connection: sa.Connection, card_id: str) -> CardSeen:
    """A card that is known to exist."""
    row = connection.execute(sa.select(store.card).where(store.card.c.id == card_id))
    return CardSeen.model_validate(dict(row.mappings().one()))


def _members(connection: sa.Connection, household_id: str) -> Iterable[dict[str, Any]]:
    table = store.person
    rows = connection.execute(
        sa.select(
            *(table.c[name] for name in MemberSeen.model_fields if name != "holder"),
        )
        .where(table.c.household_id == household_id, table.c.erased_at.is_(None))
        .order_by(table.c.position, table.c.id)
    )
    return [dict(row) for row in rows.mappings()]


def _consents(connection: sa.Connection, household_id: str) -> list[ConsentSeen]:
    table = store.consent
    rows = connection.execute(
        sa.select(table.c.purpose, table.c.given_at, table.c.withdrawn_at)
        .where(table.c.household_id == household_id)
        .order_by(table.c.purpose)
    )
    return [ConsentSeen.model_validate(dict(row)) for row in rows.mappings()]
