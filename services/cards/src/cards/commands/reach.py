"""What a command may reach: the caller's own centre, or any for the whole foundation."""

from __future__ import annotations

from cards.store.ledger import Ledger
from cards.store.rows import HouseholdRow
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotFound


def household_of(tx: Transaction, household_id: str) -> HouseholdRow:
    """The household, locked, if the caller's centre has it and it was not erased; or NotFound."""
    household = Ledger.of(tx).household(household_id)
    if household is None or household.erased or tx.centre not in ("", household.centre_id):
        raise NotFound(
            "household.unknown",
            N_("This household is not known here."),
            N_("Look for it at the desk by name, phone or card."),
        )
    return household


def centre_of(tx: Transaction, named: str) -> str:
    """The centre to work in: the caller's own, or the one that the whole foundation names."""
    centre_id = tx.centre or named
    if not centre_id:
        raise Invalid(
            "centre.missing",
            N_("Say for which centre this is."),
            N_("Choose a centre."),
            field="centre_id",
        )
    if named and named != centre_id:
        raise NotFound("centre.unknown", N_("This centre is not known here."), field="centre_id")
    return centre_id
