"""How a delivery goes from one state to the next (states of GOV.UK Notify).

What holds (I4): a delivery is handed over at most once. Before the mail server is called it is
``sending``, committed; if the answer is lost it is ``unknown`` and nobody sends it again. Only what
surely was not handed over is tried again: 48 times every 300 s, then ``technical_failure``.
``not_sent`` is a delivery that was not to be sent: no address, no consent, switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

RETRIES = 48
RETRY_AFTER = timedelta(seconds=300)
MOST_IDENTICAL = 20
"""Identical messages to one address within `IDENTICAL_WITHIN` (DOMAIN)."""
IDENTICAL_WITHIN = timedelta(hours=1)
WAIT_FOR_CONTACT = timedelta(hours=1)
"""How long a person who is not known yet is waited for."""
TOO_OLD = timedelta(days=30)
"""A fact older than this makes no e-mail: a new service must not send a year of messages."""


class State(StrEnum):
    """How a delivery stands."""

    CREATED = "created"
    SENDING = "sending"
    DELIVERED = "delivered"
    TEMPORARY_FAILURE = "temporary_failure"
    PERMANENT_FAILURE = "permanent_failure"
    TECHNICAL_FAILURE = "technical_failure"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


OPEN = frozenset({State.CREATED, State.SENDING, State.TEMPORARY_FAILURE})
"""Something will still happen by itself."""
FAILED = frozenset({State.PERMANENT_FAILURE, State.TECHNICAL_FAILURE})
"""Surely not handed over: may be sent again."""


class Why(StrEnum):
    """Why a delivery waits or was not sent."""

    NOTHING = ""
    CONTACT = "contact_not_known_yet"
    QUIET_HOURS = "quiet_hours"
    TOO_MANY = "too_many_identical"
    NO_ADDRESS = "no_address"
    NO_CONSENT = "no_consent"
    SWITCHED_OFF = "switched_off"
    NO_MAIL_SERVER = "no_mail_server"
    OLD = "too_old"
    LATE = "too_late"
    OVERTAKEN = "overtaken"


class Answer(StrEnum):
    """What the mail server said. ``LOST``: nobody knows whether it took the message."""

    TAKEN = "taken"
    LATER = "later"
    NEVER = "never"
    LOST = "lost"


@dataclass(frozen=True)
class Step:
    """The state that follows, and when it is tried again (None: never)."""

    state: State
    retry_at: datetime | None = None


def after(answer: Answer, *, tries: int, now: datetime) -> Step:
    """The state after the ``tries``-th hand-over (from 1) was answered."""
    if answer is Answer.TAKEN:
        return Step(State.DELIVERED)
    if answer is Answer.NEVER:
        return Step(State.PERMANENT_FAILURE)
    if answer is Answer.LOST:
        return Step(State.UNKNOWN)
    if tries > RETRIES:
        return Step(State.TECHNICAL_FAILURE)
    return Step(State.TEMPORARY_FAILURE, now + RETRY_AFTER)


def wait_for_contact(created_at: datetime, now: datetime) -> datetime | None:
    """When to look again for a person who is not known yet; None: not any more.

    Their description and the fact travel on different topics, usually within a second.
    """
    age = now - created_at
    if age >= WAIT_FOR_CONTACT:
        return None
    return now + timedelta(seconds=5 if age < timedelta(minutes=1) else 60)


def of_no_use(useful_until: datetime | None, now: datetime) -> bool:
    """Whether it is too late to tell: the offer ran out, the session has begun."""
    return useful_until is not None and useful_until <= now


def of_message(email: State | None) -> State:
    """How a message stands as a whole: as its e-mail, else as the inbox, where it always is."""
    return State.DELIVERED if email in (None, State.NOT_SENT) else email
