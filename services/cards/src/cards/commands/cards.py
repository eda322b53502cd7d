"""Cards: handed out, blocked, replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cards import store
from cards.commands.reach import household_of
from cards.domain import card as domain
from cards.domain.card import BlockReason, CardState
from cards.store.ledger import Ledger
from cards.store.rows import HouseholdRow
from contracts import cards as facts
from messaging import Transaction
from runtime.refusals import N_, NotFound, Refusal


@dataclass(frozen=True)
class IssuedCard:
    """A new card. ``token_digest`` says whether the token in hand is the one that was kept."""

    id: str
    household_id: str
    number: str
    token_digest: str


def issue_card(tx: Transaction, household_id: str, token_digest: str) -> IssuedCard:
    """Hand out a card; the token itself is never seen here."""
    household = household_of(tx, household_id)
    issued = _insert(tx, household, token_digest)
    tx.emit(
        facts.CardIssued(
            household_id=household_id,
            card_id=issued.id,
            number=issued.number,
            token_digest=token_digest,
            issued_at=tx.now,
        ),
        centre=household.centre_id,
    )
    return issued


def block_card(tx: Transaction, card_id: str, reason: BlockReason) -> None:
    """The card opens nothing any more; one that is blocked already keeps its first reason."""
    household, card = _card(tx, card_id)
    if card.state == CardState.ACTIVE:
        _block(tx, household, card_id, reason)


def replace_card(tx: Transaction, card_id: str, token_digest: str) -> IssuedCard:
    """The card is blocked and a new one opens the same account."""
    household, card = _card(tx, card_id)
    if card.replaced_by is not None:
        raise Refusal(
            "card.replaced",
            N_("This card has been replaced already."),
            N_("Use the newer card of the household, or replace that one."),
        )
    issued = _insert(tx, household, token_digest)
    tx.connection.execute(
        sa.update(store.card)
        .where(store.card.c.id == card_id)
        .values(
            state=CardState.BLOCKED,
            blocked_at=card.blocked_at or tx.now,
            block_reason=card.block_reason or BlockReason.REPLACED,
            replaced_by=issued.id,
        )
    )
    tx.emit(
        facts.CardReplaced(
            household_id=household.id,
            card_id=card_id,
            new_card_id=issued.id,
            number=issued.number,
            token_digest=token_digest,
            replaced_at=tx.now,
        ),
        centre=household.centre_id,
    )
    return issued


def block_all(tx: Transaction, household: HouseholdRow) -> None:
    """Block every card of a household that is erased."""
    for card_id in tx.connection.scalars(
        sa.select(store.card.c.id).where(
            store.card.c.household_id == household.id, store.card.c.state == CardState.ACTIVE
        )
    ).all():
        _block(tx, household, card_id, BlockReason.OTHER)


def _card(tx: Transaction, card_id: str) -> tuple[HouseholdRow, sa.Row[Any]]:
    """The card and its household, which is locked; or NotFound."""
    query = sa.select(store.card).where(store.card.c.id == card_id)
    card = tx.connection.execute(query).one_or_none()
    household = Ledger.of(tx).household(card.household_id) if card else None
    if household is None or household.erased or tx.centre not in ("", household.centre_id):
        raise NotFound(
            "card.unknown",
            N_("This card is not known here."),
            N_("Check the number, or look for the household by name."),
        )
    return household, tx.connection.execute(query).one()


def _insert(tx: Transaction, household: HouseholdRow, token_digest: str) -> IssuedCard:
    card_id = tx.ids.new()
    number = domain.new_number()
    while tx.connection.scalar(sa.select(sa.exists().where(store.card.c.number == number))):
        number = domain.new_number()
    tx.connection.execute(
        sa.insert(store.card).values(
            id=card_id,
            household_id=household.id,
            number=number,
            token_digest=token_digest,
            state=CardState.ACTIVE,
            issued_at=tx.now,
            block_reason="",
        )
    )
    tx.connection.execute(
        sa.insert(store.search_word).values(
            centre_id=household.centre_id,
            word=number,
            household_id=household.id,
            source_id=card_id,
        )
    )
    return IssuedCard(card_id, household.id, number, token_digest)


def _block(tx: Transaction, household: HouseholdRow, card_id: str, reason: BlockReason) -> None:
    tx.connection.execute(
        sa.update(store.card)
        .where(store.card.c.id == card_id)
        .values(state=CardState.BLOCKED, blocked_at=tx.now, block_reason=reason)
    )
    tx.emit(
        facts.CardBlocked(
            household_id=household.id, card_id=card_id, reason=reason, blocked_at=tx.now
        ),
        centre=household.centre_id,
    )
