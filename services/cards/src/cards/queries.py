"""The read side: what the desk, the family and programs see. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field

from cards import store
from cards.domain.card import digest_of, number_of
from cards.domain.household import query_words
from cards.domain.points import NEVER, LedgerAccount
from cards.projections import LIVE_SIGNUPS, OPEN_REFERRALS
from contracts.cards import Purpose
from web.paging import Page, Paging

BROAD = 2_000
"""Words that begin with the same letters and are too many to be listed for one page."""

LAST = "\U0010ffff"
"""Sorts behind every word that begins with what stands before it."""


class BucketSeen(BaseModel):
    """Points that expire together. ``points`` can be spent, ``held`` wait for a sale to end."""

    points: int
    held: int = 0
    expires_at: datetime | None = Field(description="null: never")


class PointsSeen(BaseModel):
    """What a household has, soonest-expiring first. ``available`` is the sum of the buckets'
    ``points``; points whose time has come are not among them."""

    available: int
    held: int
    buckets: list[BucketSeen]


class EntryPart(BaseModel):
    """Points of one bucket that came in (positive) or went out."""

    points: int
    expires_at: datetime | None


class EntrySeen(BaseModel):
    """A transfer of the ledger, from the household's side."""

    id: str
    at: datetime
    kind: str = Field(examples=["sale"])
    origin: str = Field(description="The sale, refund or attendance that it is for.")
    points: int = Field(description="What came in (positive) or went out.")
    uncovered: int = Field(description="What could not be taken; 0 nearly always.")
    reason: str = Field(description="What staff wrote, for an adjustment.")
    buckets: list[EntryPart]


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


class HouseholdFound(BaseModel):
    """A household in a list."""

    id: str
    centre_id: str
    zone: str
    registered_at: datetime
    holder: str
    members: list[str]


class CardFound(BaseModel):
    """Whose card it is."""

    card_id: str
    household_id: str
    number: str
    state: str
    block_reason: str
    holder: str
    available: int
    held: int


class RuleSeen(BaseModel):
    """An earning rule."""

    id: str
    centre_id: str
    from_time: datetime
    per_euro: int
    per_attendance: int
    valid_days: int
    set_at: datetime


class Happened(BaseModel):
    """A row of the timeline."""

    event_id: str
    at: datetime
    kind: str
    facts: dict[str, Any]


class SignUpSeen(BaseModel):
    """A live sign-up of a household."""

    session_id: str
    title: str
    starts_at: datetime
    state: str


class UncoveredSeen(BaseModel):
    """Points that had to be booked and that no household had."""

    transfer_id: str
    household_id: str
    at: datetime
    kind: str
    points: int


def visible(connection: sa.Connection, household_id: str, centre_id: str) -> bool:
    """Whether a caller of this centre ("" for all) may know of the household."""
    table = store.household
    found = connection.execute(
        sa.select(table.c.centre_id).where(table.c.id == household_id, table.c.erased_at.is_(None))
    ).scalar_one_or_none()
    return found is not None and centre_id in ("", found)


def points(connection: sa.Connection, household_id: str, now: datetime) -> PointsSeen:
    """Available and held points with their buckets, from the kept balances."""
    table = store.bucket
    buckets = []
    for expires_at, balance, held in connection.execute(
        sa.select(table.c.expires_at, table.c.balance, table.c.held)
        .where(table.c.household_id == household_id, table.c.balance > 0)
        .order_by(table.c.expires_at)
    ):
        free = balance - held if expires_at > now else 0
        if free or held:
            buckets.append(BucketSeen(points=free, held=held, expires_at=_told(expires_at)))
    return PointsSeen(
        available=sum(bucket.points for bucket in buckets),
        held=sum(bucket.held for bucket in buckets),
        buckets=buckets,
    )


def entries(connection: sa.Connection, household_id: str, paging: Paging) -> Page[EntrySeen]:
    """The transfers of a household, the latest first."""
    table = store.transfer
    page = paging.read(
        connection,
        sa.select(table).where(table.c.household_id == household_id),
        by=(table.c.at, table.c.id),
        show=lambda row: EntrySeen(
            id=row.id,
            at=row.at,
            kind=row.kind,
            origin=row.origin,
            points=0,
            uncovered=0,
            reason=row.note,
            buckets=[],
        ),
        newest_first=True,
    )
    seen = {item.id: item for item in page.items}
    lines = connection.execute(
        sa.select(store.entry)
        .where(store.entry.c.transfer_id.in_(list(seen)))
        .order_by(store.entry.c.transfer_id, store.entry.c.line)
    )
    for line in lines:
        item = seen[line.transfer_id]
        if line.account == LedgerAccount.HOUSEHOLD:
            item.points += line.points
            item.buckets.append(EntryPart(points=line.points, expires_at=_told(line.expires_at)))
        elif line.account == LedgerAccount.UNCOVERED:
            item.uncovered -= line.points
    return page


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


def households(connection: sa.Connection, centre_id: str, paging: Paging) -> Page[HouseholdFound]:
    """The households of a centre, in the order of their registration."""
    table = store.household
    statement = sa.select(table).where(table.c.erased_at.is_(None))
    if centre_id:
        statement = statement.where(table.c.centre_id == centre_id)
    return _found(connection, statement, paging)


def search(
    connection: sa.Connection, centre_id: str, text: str, paging: Paging
) -> Page[HouseholdFound]:
    """Households in which every word begins a name, a phone number or a card number.

    The rarest word is looked up and the others are compared. Where even that one begins very many
    words, as a single letter does, households are gone through in their order instead: the first
    page is full after a few, and no list of all matches is made (100 ms of 100,000 households).
    """
    words = query_words(text)
    if not words:
        return Page[HouseholdFound](items=[])
    table = store.household
    statement = sa.select(table).where(table.c.erased_at.is_(None))
    if centre_id:
        statement = statement.where(table.c.centre_id == centre_id)
    breadth = {word: _breadth(connection, centre_id, word) for word in words}
    rarest = min(words, key=breadth.__getitem__)
    for word in words:
        found = store.search_word.alias()
        if word == rarest and breadth[word] < BROAD:
            matching = sa.select(found.c.household_id).where(
                _begins(found, word), _of_centre(found, centre_id)
            )
            statement = statement.where(table.c.id.in_(matching))
        else:
            statement = statement.where(
                sa.exists().where(found.c.household_id == table.c.id, _begins(found, word))
            )
    return _found(connection, statement, paging)


def _breadth(connection: sa.Connection, centre_id: str, word: str) -> int:
    """How many words of households this one begins, counted no further than ``BROAD``."""
    words = store.search_word
    some = (
        sa.select(words.c.household_id)
        .where(_begins(words, word), _of_centre(words, centre_id))
        .limit(BROAD)
        .subquery()
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def card_by(
    connection: sa.Connection, centre_id: str, *, token: str, number: str, now: datetime
) -> CardFound | None:
    """The card of a scanned token or of a number; None when nobody of this centre has it."""
    digest, digits = digest_of(token), number_of(number)
    table, people = store.card, store.person
    if digest is not None:
        which = table.c.token_digest == digest
    elif digits is not None:
        which = table.c.number == digits
    else:
        return None
    row = connection.execute(
        sa.select(
            table,
            store.household.c.centre_id,
            people.c.given_name,
            people.c.family_name,
        )
        .join(store.household, store.household.c.id == table.c.household_id)
        .join(people, people.c.id == store.household.c.holder_id)
        .where(which, store.household.c.erased_at.is_(None))
    ).one_or_none()
    if row is None or centre_id not in ("", row.centre_id):
        return None
    standing = points(connection, row.household_id, now)
    return CardFound(
        card_id=row.id,
        household_id=row.household_id,
        number=row.number,
        state=row.state,
        block_reason=row.block_reason,
        holder=f"{row.given_name} {row.family_name}",
        available=standing.available,
        held=standing.held,
    )


def card(connection: sa.Connection, card_id: str) -> CardSeen:
    """A card that is known to exist."""
    row = connection.execute(sa.select(store.card).where(store.card.c.id == card_id))
    return CardSeen.model_validate(dict(row.mappings().one()))


def rule(connection: sa.Connection, rule_id: str) -> RuleSeen:
    """A rule that is known to exist."""
    table = store.earning_rule
    row = connection.execute(sa.select(table).where(table.c.id == rule_id))
    return RuleSeen.model_validate(dict(row.mappings().one()))


def centres(connection: sa.Connection) -> list[tuple[str, str]]:
    """Ids and names of all centres, for those who work for the whole foundation."""
    table = store.centre_seen
    rows = connection.execute(
        sa.select(table.c.centre_id, table.c.name).order_by(table.c.name, table.c.centre_id)
    )
    return [(centre_id, name) for centre_id, name in rows]


def centre_name(connection: sa.Connection, centre_id: str) -> str:
    """The name of a centre; "" while it was not heard of."""
    table = store.centre_seen
    found = connection.scalar(sa.select(table.c.name).where(table.c.centre_id == centre_id))
    return str(found or "")


def rules(connection: sa.Connection, centre_id: str, paging: Paging) -> Page[RuleSeen]:
    """The earning rules of a centre ("" for all), the latest beginning first."""
    table = store.earning_rule
    statement = sa.select(table)
    if centre_id:
        statement = statement.where(table.c.centre_id == centre_id)
    return paging.read(
        connection,
        statement,
        by=(table.c.from_time, table.c.id),
        show=lambda row: RuleSeen(**{name: getattr(row, name) for name in RuleSeen.model_fields}),
        newest_first=True,
    )


def timeline(connection: sa.Connection, household_id: str, paging: Paging) -> Page[Happened]:
    """Everything that happened around a household, the latest first."""
    table = store.timeline
    return paging.read(
        connection,
        sa.select(table).where(table.c.household_id == household_id),
        by=(table.c.at, table.c.event_id),
        show=lambda row: Happened(event_id=row.event_id, at=row.at, kind=row.kind, facts=row.facts),
        newest_first=True,
    )


def signups(
    connection: sa.Connection, household_id: str, since: datetime, most: int = 10
) -> list[SignUpSeen]:
    """Live sign-ups of sessions from a moment on, the soonest first."""
    table = store.signup_seen
    rows = connection.execute(
        sa.select(table.c.session_id, table.c.title, table.c.starts_at, table.c.state)
        .where(
            table.c.household_id == household_id,
            table.c.starts_at >= since,
            table.c.state.in_(LIVE_SIGNUPS),
        )
        .order_by(table.c.starts_at, table.c.signup_id)
        .limit(most)
    )
    return [SignUpSeen.model_validate(dict(row)) for row in rows.mappings()]


def open_referrals(connection: sa.Connection, household_id: str) -> int:
    """How many referrals of a household wait for an answer or an outcome."""
    table = store.referral_seen
    return (
        connection.scalar(
            sa.select(sa.func.count()).where(
                table.c.household_id == household_id, table.c.state.in_(OPEN_REFERRALS)
            )
        )
        or 0
    )


def uncovered(connection: sa.Connection, centre_id: str, paging: Paging) -> Page[UncoveredSeen]:
    """What had to be booked without points to cover it, the latest first."""
    transfer, entry = store.transfer, store.entry
    statement = (
        sa.select(
            transfer.c.id, transfer.c.household_id, transfer.c.at, transfer.c.kind, entry.c.points
        )
        .join(transfer, transfer.c.id == entry.c.transfer_id)
        .where(entry.c.account == sa.literal_column(f"'{LedgerAccount.UNCOVERED}'"))
    )
    if centre_id:
        statement = statement.where(transfer.c.centre_id == centre_id)
    return paging.read(
        connection,
        statement,
        by=(transfer.c.at, transfer.c.id),
        show=lambda row: UncoveredSeen(
            transfer_id=row.id,
            household_id=row.household_id,
            at=row.at,
            kind=row.kind,
            points=-row.points,
        ),
        newest_first=True,
    )


def _found(
    connection: sa.Connection, statement: sa.Select[Any], paging: Paging
) -> Page[HouseholdFound]:
    holders: dict[str, str] = {}

    def show(row: sa.Row[Any]) -> HouseholdFound:
        holders[row.id] = row.holder_id
        return HouseholdFound(
            id=row.id,
            centre_id=row.centre_id,
            zone=row.zone,
            registered_at=row.registered_at,
            holder="",
            members=[],
        )

    page = paging.read(connection, statement, by=(store.household.c.id,), show=show)
    _name(connection, page.items, holders)
    return page


def _name(
    connection: sa.Connection, items: Sequence[HouseholdFound], holders: dict[str, str]
) -> None:
    table = store.person
    by_id = {item.id: item for item in items}
    for row in connection.execute(
        sa.select(table.c.id, table.c.household_id, table.c.given_name, table.c.family_name)
        .where(table.c.household_id.in_(list(by_id)), table.c.erased_at.is_(None))
        .order_by(table.c.household_id, table.c.position, table.c.id)
    ):
        name = f"{row.given_name} {row.family_name}"
        item = by_id[row.household_id]
        item.members.append(name)
        if holders[row.household_id] == row.id:
            item.holder = name


def _begins(words: sa.FromClause, word: str) -> sa.ColumnElement[bool]:
    return sa.and_(words.c.word >= word, words.c.word < word + LAST)


def _of_centre(words: sa.FromClause, centre_id: str) -> sa.ColumnElement[bool]:
    if centre_id:
        return words.c.centre_id == centre_id
    return words.c.centre_id.in_(sa.select(store.household.c.centre_id).distinct())


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


def _told(expires_at: datetime | None) -> datetime | None:
    return None if expires_at is None or expires_at == NEVER else expires_at
