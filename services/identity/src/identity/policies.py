"""What identity does because of what others tell: a household is erased."""

from __future__ import annotations

from contracts.cards import HouseholdErased
from identity.commands import accounts
from messaging import Policies, Received, Transaction

policies = Policies()


@policies.on(HouseholdErased)
def forget_family(tx: Transaction, received: Received[HouseholdErased]) -> None:
    """Nobody signs in for the household any more, and no address or name of it is kept."""
    accounts.forget_household(tx, received.event.household_id)
