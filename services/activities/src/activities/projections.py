"""What activities remembers of people and households, facts of cards, and of centres.

A person who was erased stays as a stub with the greatest revision of all, so that nothing older
that comes late brings a name back.
"""

from __future__ import annotations

from activities import store
from activities.store import name_key
from contracts.cards import HouseholdChanged, HouseholdErased, HouseholdRegistered
from contracts.identity import CentreOpened
from contracts.people import PersonDescribed, PersonErased
from messaging import Projection, ProjectionTransaction, Received

FOR_EVER = 2**62
"""The revision of somebody erased: above all that cards can reach."""

PEOPLE_SEEN = Projection("people_seen", version=2, tables=(store.person_seen,))
CENTRES_SEEN = Projection("centres_seen", version=1, tables=(store.centre_seen,))
HOUSEHOLDS_SEEN = Projection("households_seen", version=2, tables=(store.household_seen,))


@PEOPLE_SEEN.on(PersonDescribed)
def person_described(p: ProjectionTransaction, received: Received[PersonDescribed]) -> None:
    person = received.event
    given, family = person.given_name[:200], person.family_name[:200]
    p.upsert(
        p.table(store.person_seen),
        {
            "person_id": person.person_id,
            "household_id": person.household_id,
            "centre_id": person.centre_id,
            "given_name": given,
            "family_name": family,
            "family_key": name_key(f"{family} {given}"),
            "given_key": name_key(f"{given} {family}"),
            "birth_date": person.birth_date,
            "revision": person.revision,
            "erased": False,
        },
        key=("person_id",),
        newer="revision",
    )


@PEOPLE_SEEN.on(PersonErased)
def person_erased(p: ProjectionTransaction, received: Received[PersonErased]) -> None:
    p.upsert(
        p.table(store.person_seen),
        {
            "person_id": received.event.person_id,
            "household_id": "",
            "centre_id": "",
            "given_name": "",
            "family_name": "",
            "family_key": "",
            "given_key": "",
            "birth_date": None,
            "revision": FOR_EVER,
            "erased": True,
        },
        key=("person_id",),
        newer="revision",
    )


@HOUSEHOLDS_SEEN.on(HouseholdRegistered)
def household_registered(p: ProjectionTransaction, received: Received[HouseholdRegistered]) -> None:
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "holder_id": event.holder_id,
            "erased": False,
            "changed_at": received.order,
        },
        key=("household_id",),
        newer="changed_at",
    )


@HOUSEHOLDS_SEEN.on(HouseholdChanged)
def household_changed(p: ProjectionTransaction, received: Received[HouseholdChanged]) -> None:
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "holder_id": event.holder_id,
            "erased": False,
            "changed_at": received.order,
        },
        key=("household_id",),
        newer="changed_at",
    )


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
    event = received.event
    p.upsert(
        p.table(store.centre_seen),
        {
            "centre_id": event.centre_id,
            "time_zone": event.time_zone[:60],
            "opened_at": event.opened_at,
        },
        key=("centre_id",),
    )
