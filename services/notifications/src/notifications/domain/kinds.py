"""The kinds of messages, and what holds for each.

A message that is *always sent* needs neither consent nor a wish: somebody waits for an answer, or
would come for nothing. One that *needs a call* goes on the staff's list when no e-mail reaches the
person. A *confidential* kind tells that a household was referred, hence not everybody of the staff
sees it (DOMAIN: need to know).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a message is about."""

    SIGN_UP_CONFIRMED = "signup_confirmed"
    SIGN_UP_WAITLISTED = "signup_waitlisted"
    SIGN_UP_OFFERED = "signup_offered"
    OFFER_EXPIRED = "offer_expired"
    SIGN_UP_CANCELLED = "signup_cancelled"
    SESSION_CANCELLED = "session_cancelled"
    POINTS_FOR_ATTENDANCE = "points_for_attendance"
    POINTS_ALLOWANCE = "points_allowance"
    POINTS_EXPIRED = "points_expired"
    REFERRAL_ACCEPTED = "referral_accepted"
    REFERRAL_REJECTED = "referral_rejected"
    REFERRAL_COMPLETED = "referral_completed"
    WELCOME = "welcome"


@dataclass(frozen=True)
class Rule:
    """What holds for a kind."""

    always: bool = False
    needs_call: bool = False
    confidential: bool = False


RULES: Mapping[Kind, Rule] = {
    Kind.SIGN_UP_CONFIRMED: Rule(),
    Kind.SIGN_UP_WAITLISTED: Rule(),
    Kind.SIGN_UP_OFFERED: Rule(always=True, needs_call=True),
    Kind.OFFER_EXPIRED: Rule(always=True),
    Kind.SIGN_UP_CANCELLED: Rule(always=True, needs_call=True),
    Kind.SESSION_CANCELLED: Rule(always=True, needs_call=True),
    Kind.POINTS_FOR_ATTENDANCE: Rule(),
    Kind.POINTS_ALLOWANCE: Rule(),
    Kind.POINTS_EXPIRED: Rule(),
    Kind.REFERRAL_ACCEPTED: Rule(confidential=True),
    Kind.REFERRAL_REJECTED: Rule(confidential=True),
    Kind.REFERRAL_COMPLETED: Rule(confidential=True),
    Kind.WELCOME: Rule(),
}

CONFIDENTIAL = frozenset(kind for kind, rule in RULES.items() if rule.confidential)
OPTIONAL = tuple(kind for kind, rule in RULES.items() if not rule.always)
"""What a household may switch off, in the order in which it is shown."""


def rule_of(kind: str) -> Rule:
    """The rule of a kind; of one that this build does not know, the plainest."""
    return next((rule for known, rule in RULES.items() if known == kind), Rule())
