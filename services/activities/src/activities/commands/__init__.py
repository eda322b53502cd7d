"""What can be asked of activities: plain functions over a transaction; they never commit.

Every change of sign-ups goes through `opened`, which locks the session and brings it up to date.
"""

from activities.commands.people import forget_person
from activities.commands.planning import (
    ActivityMade,
    SessionsMade,
    cancel_session,
    create_activity,
    schedule_sessions,
    set_capacity,
    set_offer_hold,
)
from activities.commands.registers import RegisterMade, take_register
from activities.commands.sessions import By, begin_session, expire_offers
from activities.commands.sign_ups import SignUpMade, accept, cancel, decline, sign_up

__all__ = [
    "ActivityMade",
    "By",
    "RegisterMade",
    "SessionsMade",
    "SignUpMade",
    "accept",
    "begin_session",
    "cancel",
    "cancel_session",
    "create_activity",
    "decline",
    "expire_offers",
    "forget_person",
    "schedule_sessions",
    "set_capacity",
    "set_offer_hold",
    "sign_up",
    "take_register",
]
