"""The closed lists of the network and how they read: areas of life, capacity, reasons, outcomes.

Codes are stable and travel in events and JSON; the sentences beside them are msgids.
"""

from __future__ import annotations

import re
from enum import StrEnum

from runtime.refusals import N_

AREAS: dict[str, str] = {
    "home": N_("Housing"),
    "work": N_("Work"),
    "money": N_("Money"),
    "food": N_("Food"),
    "health": N_("Health"),
    "disability": N_("Disability"),
    "elderly": N_("Elderly people"),
    "family": N_("Family"),
    "minors": N_("Children and teenagers"),
    "school": N_("School"),
    "language": N_("Learning the language"),
    "papers": N_("Papers and permits"),
    "rights": N_("Rights and protection"),
    "company": N_("Company and free time"),
    "culture": N_("Culture"),
}
"""Areas of life that the forms offer. The API takes any other word of the same shape: partners of
DOMAIN (culture, elderly, disability, economic fragility, children) do not all cut life alike."""

AREA_PATTERN = r"^[a-z][a-z0-9_]{1,39}$"
_AREA = re.compile(AREA_PATTERN)


def is_area(word: str) -> bool:
    """Lower-case word with digits and underscores, 2 to 40 characters."""
    return _AREA.fullmatch(word) is not None


class Capacity(StrEnum):
    """Whether a service can take somebody, asked before a referral and naming nobody (DOMAIN)."""

    HAS_CAPACITY = "has_capacity"
    NONE = "none"
    WAITING_LIST = "waiting_list"
    FURTHER_ASSESSMENT = "further_assessment"


CAPACITIES: dict[str, str] = {
    Capacity.HAS_CAPACITY: N_("Has places"),
    Capacity.WAITING_LIST: N_("Waiting list"),
    Capacity.FURTHER_ASSESSMENT: N_("To be assessed"),
    Capacity.NONE: N_("No places"),
}


class Reason(StrEnum):
    """Why a referral was rejected or cancelled (DOMAIN), or ended by itself."""

    NOT_APPROPRIATE = "not_appropriate"
    NO_CAPACITY = "no_capacity"
    NO_LONGER_NEEDED = "no_longer_needed"
    ALREADY_HELPED = "already_helped"
    NEED_MET = "need_met"
    REFUSED = "refused"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    NO_ANSWER = "no_answer"


REASONS: dict[str, str] = {
    Reason.NOT_APPROPRIATE: N_("Not the right service"),
    Reason.NO_CAPACITY: N_("No places"),
    Reason.NO_LONGER_NEEDED: N_("No longer needed"),
    Reason.ALREADY_HELPED: N_("Already helped by somebody"),
    Reason.NEED_MET: N_("The need is met"),
    Reason.REFUSED: N_("The family does not want it"),
    Reason.CONSENT_WITHDRAWN: N_("Consent withdrawn"),
    Reason.NO_ANSWER: N_("Nobody answered"),
}

REJECT_REASONS = (
    Reason.NOT_APPROPRIATE,
    Reason.NO_CAPACITY,
    Reason.NO_LONGER_NEEDED,
    Reason.ALREADY_HELPED,
    Reason.NEED_MET,
    Reason.REFUSED,
)
"""The six of DOMAIN: what a receiver may say."""

CANCEL_REASONS = (*REJECT_REASONS, Reason.CONSENT_WITHDRAWN)
"""What either side may say when it ends a referral."""


class Outcome(StrEnum):
    """How a referral ended. ``failed`` closes it as failed, the others as completed."""

    MET = "met"
    PARTLY_MET = "partly_met"
    FAILED = "failed"


OUTCOMES: dict[str, str] = {
    Outcome.MET: N_("Need met"),
    Outcome.PARTLY_MET: N_("Need met in part"),
    Outcome.FAILED: N_("It did not work"),
}
