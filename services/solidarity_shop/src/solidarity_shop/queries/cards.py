"""Cards and balances as others told them."""

from __future__ import annotations

import hashlib
import re
from functools import cache

import sqlalchemy as sa

from runtime.prepared import Prepared
from solidarity_shop import store
from solidarity_shop.domain.closing import DEFAULT_ZONE
from solidarity_shop.domain.sale import State
from solidarity_shop.views import CardView

CARD, HOUSEHOLD, BALANCE = store.card_seen, store.household_seen, store.balance_seen
BLOCKED = sa.or_(CARD.c.blocked, HOUSEHOLD.c.erased)


def token_digest(token: str) -> str:
    """SHA-256 of a scanned token, as ``cards.card.issued`` carries it.

    Tokens are base32: a scanner whose keyboard types small letters means the same.
    """
    return hashlib.sha256(token.strip().upper().encode()).hexdigest()


def plain_number(number: str) -> str:
    """A card number without the spaces that people type."""
    return _TYPED_BETWEEN.sub("", number)


_TYPED_BETWEEN = re.compile(r"[\s.-]")


def find_card(
    connection: sa.Connection,
    centre_id: str,
    *,
    card_id: str = "",
    number: str = "",
    token: str = "",
) -> store.Row | None:
    """The card by one of its keys; None when it is not known, or is of another centre's household.

    A card of an erased household is shown as blocked.
    """
    key = card_key(card_id, number, token)
    if key is None:
        return None
    column, wanted = key
    return _card_by(column).first(connection, wanted=wanted, centre=centre_id)


def card_key(card_id: str, number: str, token: str) -> tuple[sa.Column[str], str] | None:
    """The column by which a card is looked for, and what for; None when none is named."""
    if card_id:
        return CARD.c.card_id, card_id
    if token:
        return CARD.c.token_digest, token_digest(token)
    if plain := plain_number(number):
        return CARD.c.number, plain
    return None


@cache
def _card_by(column: sa.Column[str]) -> Prepared:
    return Prepared(
        sa.select(
            CARD.c.card_id,
            CARD.c.household_id,
            CARD.c.number,
            BLOCKED.label("blocked"),
        )
        .join(HOUSEHOLD, HOUSEHOLD.c.household_id == CARD.c.household_id)
        .where(
            column == sa.bindparam("wanted"),
            CARD.c.number != "",
            HOUSEHOLD.c.centre_id == sa.bindparam("centre"),
        )
        .order_by("blocked", CARD.c.card_id)
        .limit(1)
    )


def spendable(connection: sa.Connection, household_id: str) -> int:
    """The household's last known points less what it has asked for and cards has not answered."""
    available = _AVAILABLE.scalar(connection, household=household_id)
    asked = _ASKED.scalar(connection, household=household_id)
    return int(available or 0) - int(asked or 0)


_AVAILABLE = Prepared(
    sa.select(BALANCE.c.available).where(BALANCE.c.household_id == sa.bindparam("household"))
)
_ASKED = Prepared(
    sa.select(sa.func.sum(store.sale.c.points)).where(
        store.sale.c.household_id == sa.bindparam("household"),
        store.sale.c.state == State.WAITING.value,
    )
)


def card_view(connection: sa.Connection, row: store.Row) -> CardView:
    return CardView(
        card_id=row["card_id"],
        household_id=row["household_id"],
        number=row["number"],
        available=max(spendable(connection, row["household_id"]), 0),
        blocked=row["blocked"],
    )


def time_zone(connection: sa.Connection, centre_id: str) -> str:
    """The centre's zone; that of Italy until the centre is known."""
    zone = connection.scalar(
        sa.select(store.centre_seen.c.time_zone).where(store.centre_seen.c.centre_id == centre_id)
    )
    return zone or DEFAULT_ZONE
