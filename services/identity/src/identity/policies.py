"""What identity does because of what others tell: a household is erased, or somebody leaves it."""

from __future__ import annotations

from contracts.cards import HouseholdChanged, HouseholdErased
from identity.commands import accounts
from messaging import Policies, Received, Transaction

policies = Policies()


@policies.on(HouseholdErased)
def forget_family(tx: Transaction, received: Received[HouseholdErased]) -> None:
    """Nobody signs in for the household any more, and no address or name of it is kept."""
    accounts.forget_household(tx, received.event.household_id)


@policies.on(HouseholdChanged)
def ask_for_new_passwords(tx: Transaction, received: Received[HouseholdChanged]) -> None:
    """Who left a household, or held it before, signs in for it no more (decision 17)."""
    event = received.event
    if event.left_ids or event.holder_before:
        accounts.hand_over_household(tx, event.household_id, event.changed_at)
