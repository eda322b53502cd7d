"""What the network does because of what others tell: consent withdrawn, a household erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from contracts.cards import ConsentWithdrawn, HouseholdErased, Purpose
from messaging import Policies, Received, Transaction
from network import store
from network.commands.referrals import cancel_of_household
from network.domain.words import Reason
from runtime.store import lock_rows

policies = Policies()


@policies.on(ConsentWithdrawn)
def stop_referrals(tx: Transaction, received: Received[ConsentWithdrawn]) -> None:
    """Cancel what is unfinished of the household.

    What was asked after the withdrawal stays if a newer consent is known already, or if somebody
    gave a reason for doing it without.
    """
    event = received.event
    if event.purpose is not Purpose.REFERRALS:
        return
    lock_rows(tx.connection, store.household_seen, [event.household_id])
    consent = store.load(tx.connection, store.consent_seen, event.household_id)
    renewed = consent is not None and consent["given"] and consent["changed_at"] > received.order

    def covered(row: Mapping[str, Any]) -> bool:
        asked_at = row["requested_at"] or row["recorded_at"]
        return bool(asked_at > event.withdrawn_at and (renewed or row["overridden"]))

    cancel_of_household(tx, event.household_id, Reason.CONSENT_WITHDRAWN, unless=covered)


@policies.on(HouseholdErased)
def forget_household(tx: Transaction, received: Received[HouseholdErased]) -> None:
    """Nobody can be helped under this id any more, and what was written about them goes."""
    household_id = received.event.household_id
    cancel_of_household(tx, household_id, Reason.CONSENT_WITHDRAWN)
    referral = store.referral
    store.scrub_texts(
        tx.connection,
        tx.connection.scalars(
            sa.select(referral.c.id).where(referral.c.household_id == household_id)
        ).all(),
    )
