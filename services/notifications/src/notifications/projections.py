"""What notifications remembers of people, households and centres.

A person who was erased stays as a stub with the greatest revision of all, so that nothing older
that comes late brings a name or an address back.
"""

from __future__ import annotations

from contracts.cards import HouseholdChanged, HouseholdErased, HouseholdRegistered
from contracts.identity import CentreOpened
from contracts.people import PersonDescribed, PersonErased
from messaging import Projection, ProjectionTransaction, Received
from notifications import store

FOR_EVER = 2**62
"""The revision of somebody erased: above all that cards can reach."""

PERSON_CONTACT = Projection("person_contact", version=1, tables=(store.person_contact,))
HOUSEHOLDS_SEEN = Projection("households_seen", version=2, tables=(store.household_seen,))
CENTRES_SEEN = Projection("centres_seen", version=1, tables=(store.centre_seen,))


@PERSON_CONTACT.on(PersonDescribed)
def person_described(p: ProjectionTransaction, received: Received[PersonDescribed]) -> None:
    person = received.event
    p.upsert(
        p.table(store.person_contact),
        {
            "person_id": person.person_id,
            "household_id": person.household_id,
            "centre_id": person.centre_id,
            "given_name": person.given_name[:200],
            "family_name": person.family_name[:200],
            "holder": person.holder,
            "language": person.language[:35],
            # A shortened address would be somebody else's.
            "email": person.email if len(person.email) <= 320 else "",
            "phone": person.phone if len(person.phone) <= 40 else "",
            "messages_allowed": person.messages_allowed,
            "revision": person.revision,
            "erased": False,
        },
        key=("person_id",),
        newer="revision",
    )


@PERSON_CONTACT.on(PersonErased)
def person_erased(p: ProjectionTransaction, received: Received[PersonErased]) -> None:
    p.upsert(
        p.table(store.person_contact),
        {
            "person_id": received.event.person_id,
            "household_id": "",
            "centre_id": "",
            "given_name": "",
            "family_name": "",
            "holder": False,
            "language": "",
            "email": "",
            "phone": "",
            "messages_allowed": False,
            "revision": FOR_EVER,
            "erased": True,
        },
        key=("person_id",),
        newer="revision",
    )


def _household(
    p: ProjectionTransaction, event: HouseholdRegistered | HouseholdChanged, changed_at: object
) -> None:
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "holder_id": event.holder_id,
            "erased": False,
            "changed_at": changed_at,
        },
        key=("household_id",),
        newer="changed_at",
    )


@HOUSEHOLDS_SEEN.on(HouseholdRegistered)
def household_registered(p: ProjectionTransaction, received: Received[HouseholdRegistered]) -> None:
    _household(p, received.event, received.order)


@HOUSEHOLDS_SEEN.on(HouseholdChanged)
def household_changed(p: ProjectionTransaction, received: Received[HouseholdChanged]) -> None:
    _household(p, received.event, received.order)


@HOUSEHOLDS_SEEN.on(HouseholdErased)
def household_erased(p: ProjectionTransaction, received: Received[HouseholdErased]) -> None:
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "holder_id": "",
            "erased": True,
            "changed_at": received.order,
        },
        key=("household_id",),
        newer="changed_at",
    )


@CENTRES_SEEN.on(CentreOpened)
def centre_opened(p: ProjectionTransaction, received: Received[CentreOpened]) -> None:
    centre = received.event
    p.upsert(
        p.table(store.centre_seen),
        {
            "centre_id": centre.centre_id,
            "name": centre.name[:200],
            "time_zone": centre.time_zone[:64],
            "region": centre.region[:16],
            "opened_at": centre.opened_at,
        },
        key=("centre_id",),
        newer="opened_at",
    )
