"""What a restored store takes back from its own events: everything but what events may not carry.

Addresses, names and passwords do not travel, so an account learnt again cannot sign in until staff
write its address and a password anew. Private keys do not travel either: what a forgotten key had
signed is still believed, and new tokens are signed by a key that is here.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from contracts.identity import (
    AccountChanged,
    AccountCreated,
    AccountErased,
    CentreOpened,
    KeyPublished,
    SessionRevoked,
)
from identity import store
from identity.commands import keys, sessions
from identity.domain.accounts import Standing
from messaging import Received, Transaction
from runtime.store import insert_ignore


def centre_opened(tx: Transaction, received: Received[CentreOpened]) -> None:
    """The centre, as it was opened."""
    event = received.event
    insert_ignore(
        tx.connection,
        store.centre,
        [
            {
                "id": event.centre_id,
                "name": event.name,
                "time_zone": event.time_zone,
                "region": event.region,
                "languages": list(event.languages),
                "opened_at": event.opened_at,
            }
        ],
    )


def account_created(tx: Transaction, received: Received[AccountCreated]) -> None:
    """The account without address and password, unless it is there."""
    event = received.event
    _stub(tx, event.account_id, _standing(event), event.created_at)


def account_changed(tx: Transaction, received: Received[AccountChanged]) -> None:
    """What the account may do, unless something newer is known; a password that had ended since
    the backup opens nothing again."""
    event = received.event
    standing = _standing(event, disabled=event.disabled)
    values = store.standing_columns(standing)
    if event.password_ended:
        values |= {"password_hash": "", "password_chosen": False, "password_until": None}
    _stub(tx, event.account_id, standing, event.changed_at)
    tx.connection.execute(
        sa.update(store.account)
        .where(
            store.account.c.id == event.account_id,
            store.account.c.changed_at <= event.changed_at,
        )
        .values(**values, changed_at=event.changed_at)
    )


def account_erased(tx: Transaction, received: Received[AccountErased]) -> None:
    """The account is gone, with its address and name."""
    store.delete_account(tx.connection, received.event.account_id)


def session_revoked(tx: Transaction, received: Received[SessionRevoked]) -> None:
    """The session has ended, also when it is known no more."""
    event = received.event
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.id == event.session_id, store.session.c.revoked_at.is_(None))
        .values(revoked_at=event.revoked_at)
    )
    sessions.believe(tx, event)


def key_published(tx: Transaction, received: Received[KeyPublished]) -> None:
    """Its tokens are believed; it signs no more."""
    keys.believe(tx, received.event)


def _standing(event: AccountCreated | AccountChanged, *, disabled: bool = False) -> Standing:
    return Standing(
        roles=frozenset(event.roles),
        centre_id=event.centre_id,
        household_id=event.household_id,
        organisation_id=event.organisation_id,
        producer_id=event.producer_id,
        disabled=disabled,
    )


def _stub(tx: Transaction, account_id: str, standing: Standing, at: datetime) -> None:
    insert_ignore(
        tx.connection,
        store.account,
        [
            {
                "id": account_id,
                "email": None,
                "name": "",
                "password_hash": "",
                "password_chosen": False,
                "language": "",
                "created_at": at,
                "changed_at": at,
                **store.standing_columns(standing),
            }
        ],
    )
