"""What can be asked of cards: one plain function each, inside a transaction that it never ends.

Every function works within the centre of its transaction (``tx.centre``; empty for the whole
foundation): what belongs to another centre does not exist for it.
"""

from cards.commands.cards import IssuedCard, block_card, issue_card, replace_card
from cards.commands.households import (
    change_household,
    change_stage,
    erase_household,
    give_consent,
    household_changed_meanwhile,
    register_household,
    withdraw_consent,
)
from cards.commands.points import adjust_points, set_earning_rule

__all__ = [
    "IssuedCard",
    "adjust_points",
    "block_card",
    "change_household",
    "change_stage",
    "erase_household",
    "give_consent",
    "household_changed_meanwhile",
    "issue_card",
    "register_household",
    "replace_card",
    "set_earning_rule",
    "withdraw_consent",
]
