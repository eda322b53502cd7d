"""Facts of notifications, on ``notifications.events``. No address and no text travels."""

from __future__ import annotations

from enum import StrEnum

from contracts.event import Event, Id, Moment

TOPIC = "notifications.events"


class Channel(StrEnum):
    """How a message reaches somebody."""

    IN_APP = "in_app"
    EMAIL = "email"
    SMS = "sms"
    CALL = "call"
    """Somebody of the staff calls: the end of every chain."""


class MessageDelivered(
    Event, type="notifications.message.delivered", topic=TOPIC, key="message_id"
):
    """Handed over to the provider, or put into the in-app inbox."""

    message_id: Id
    person_id: Id
    household_id: Id
    centre_id: Id
    kind: str
    channel: Channel
    delivered_at: Moment


class MessageFailed(Event, type="notifications.message.failed", topic=TOPIC, key="message_id"):
    """Will not arrive by this channel. ``state`` of GOV.UK Notify: permanent_failure, …"""

    message_id: Id
    person_id: Id
    household_id: Id
    centre_id: Id
    kind: str
    channel: Channel
    state: str
    failed_at: Moment


class ContactUnreachable(
    Event, type="notifications.contact.unreachable", topic=TOPIC, key="person_id"
):
    """A contact point of a person failed for good: the desk should ask for another."""

    person_id: Id
    household_id: Id
    centre_id: Id
    channel: Channel
    seen_at: Moment
