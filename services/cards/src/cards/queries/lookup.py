"""Households and cards that are looked for, or gone through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from cards import store
from cards.domain.card import digest_of, number_of
from cards.domain.household import query_words
from cards.queries.ledger import points
from web.paging import Page, Paging

BROAD = 2_000
"""Words that begin with the same letters and are too many to be listed for one page."""

LAST = "\U0010ffff"
"""Sorts behind every word that begins with what stands before it."""


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
