"""What identity remembers of others: households that are no more."""

from __future__ import annotations

from contracts.cards import HouseholdErased
from identity import store
from messaging import Projection, ProjectionTransaction, Received

HOUSEHOLDS_GONE = Projection("households_gone", version=1, tables=(store.household_gone,))


@HOUSEHOLDS_GONE.on(HouseholdErased)
def household_erased(p: ProjectionTransaction, received: Received[HouseholdErased]) -> None:
    """No account is made for it from now on."""
    p.upsert(
        p.table(store.household_gone),
        {"household_id": received.event.household_id, "erased_at": received.event.erased_at},
        key=("household_id",),
    )
