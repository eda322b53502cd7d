"""Personal data, on ``cards.people`` alone: compacted, keyed by person, erased by a tombstone."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from contracts.event import Event, Id, Moment

TOPIC = "cards.people"


class PersonDescribed(Event, type="cards.person.described", topic=TOPIC, key="person_id"):
    """All that others may know of a person. The greater ``revision`` wins, whatever comes later."""

    person_id: Id
    household_id: Id
    centre_id: Id
    revision: int = Field(ge=1)
    given_name: str
    family_name: str
    birth_date: date | None = None
    holder: bool = False
    language: str = ""
    """BCP 47; empty when nobody knows (messages are then bilingual)."""
    email: str = ""
    phone: str = ""
    """E.164."""
    messages_allowed: bool = False
    """Consent to receive messages other than those always sent."""
    described_at: Moment


class PersonErased(Event, type="cards.person.erased", topic=TOPIC, key="person_id", tombstone=True):
    """The person is forgotten. On the bus the body is empty; consumers keep a stub of the id."""

    person_id: Id
