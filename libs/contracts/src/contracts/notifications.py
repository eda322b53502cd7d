"""Facts of notifications, on ``notifications.events``. No address and no text travels."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from contracts.event import Event, Id, Moment

TOPIC = "notifications.events"


class Channel(StrEnum):
    """How a message reaches somebody."""

    IN_APP = "in_app"
    EMAIL = "email"
    SMS = "sms"
    CALL = "call"
    """Somebody of the staff calls: the end of every chain."""


class PreferencesChanged(
    Event, type="notifications.preferences.changed", topic=TOPIC, key="household_id"
):
    """What a household wants to get is now this; what is not named is wanted."""

    household_id: Id
    centre_id: Id
    everything: bool = True
    kinds: dict[str, bool] = Field(default_factory=dict)
    channels: dict[str, bool] = Field(default_factory=dict)
    changed_at: Moment


class OpenHours(BaseModel):
    """From ``opens`` to ``closes`` by the wall clock of the centre, ``09:00:00``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    opens: str
    closes: str


class HoursSet(Event, type="notifications.hours.set", topic=TOPIC, key="centre_id"):
    """From ``from_time`` on, messages of a centre leave in these hours; None: not on such days."""

    centre_id: Id
    hours_id: Id
    weekdays: OpenHours | None = None
    saturdays: OpenHours | None = None
    sundays: OpenHours | None = None
    holidays: OpenHours | None = None
    from_time: Moment
    set_at: Moment


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
