"""What the network remembers of others: centres, households, consent, names."""

from __future__ import annotations

from datetime import datetime

from contracts.cards import (
    ConsentGiven,
    ConsentWithdrawn,
    HouseholdChanged,
    HouseholdErased,
    HouseholdRegistered,
    Purpose,
)
from contracts.identity import CentreOpened
from contracts.people import PersonDescribed, PersonErased
from messaging import Projection, ProjectionTransaction, Received
from network import store

CENTRES = Projection("centres", version=1, tables=(store.centre_seen,))
HOUSEHOLDS = Projection("households", version=2, tables=(store.household_seen, store.zone_seen))
CONSENT = Projection("consent", version=2, tables=(store.consent_seen,))
PEOPLE = Projection("people", version=1, tables=(store.person_known,))


@CENTRES.on(CentreOpened)
def centre_opened(p: ProjectionTransaction, received: Received[CentreOpened]) -> None:
    """Time zone and region decide what a business day is."""
    event = received.event
    p.upsert(
        p.table(store.centre_seen),
        {
            "centre_id": event.centre_id,
            "time_zone": event.time_zone,
            "region": event.region,
            "opened_at": event.opened_at,
        },
        key=("centre_id",),
        newer="opened_at",
    )


@HOUSEHOLDS.on(HouseholdRegistered)
def household_registered(p: ProjectionTransaction, received: Received[HouseholdRegistered]) -> None:
    """Whose it is and where it lives, never its address."""
    event = received.event
    _household(p, event.household_id, event.centre_id, event.zone, received.order)


@HOUSEHOLDS.on(HouseholdChanged)
def household_changed(p: ProjectionTransaction, received: Received[HouseholdChanged]) -> None:
    """The zone may be another now."""
    event = received.event
    _household(p, event.household_id, event.centre_id, event.zone, received.order)


@HOUSEHOLDS.on(HouseholdErased)
def household_erased(p: ProjectionTransaction, received: Received[HouseholdErased]) -> None:
    """Nobody can be referred any more."""
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "zone": "",
            "erased": True,
            "changed_at": received.order,
        },
        key=("household_id",),
        newer="changed_at",
    )


def _household(
    p: ProjectionTransaction, household_id: str, centre_id: str, zone: str, at: datetime
) -> None:
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": household_id,
            "centre_id": centre_id,
            "zone": zone[:80],
            "erased": False,
            "changed_at": at,
        },
        key=("household_id",),
        newer="changed_at",
    )
    if zone:
        p.upsert(
            p.table(store.zone_seen),
            {"centre_id": centre_id, "zone": zone[:80]},
            key=("centre_id", "zone"),
        )


@CONSENT.on(ConsentGiven)
def consent_given(p: ProjectionTransaction, received: Received[ConsentGiven]) -> None:
    """The household agreed to be referred; other purposes do not matter here."""
    event = received.event
    if event.purpose is Purpose.REFERRALS:
        p.upsert(
            p.table(store.consent_seen),
            {"household_id": event.household_id, "given": True, "changed_at": received.order},
            key=("household_id",),
            newer="changed_at",
        )


@CONSENT.on(ConsentWithdrawn)
def consent_withdrawn(p: ProjectionTransaction, received: Received[ConsentWithdrawn]) -> None:
    """It does not any more."""
    event = received.event
    if event.purpose is Purpose.REFERRALS:
        p.upsert(
            p.table(store.consent_seen),
            {"household_id": event.household_id, "given": False, "changed_at": received.order},
            key=("household_id",),
            newer="changed_at",
        )


@PEOPLE.on(PersonDescribed)
def person_described(p: ProjectionTransaction, received: Received[PersonDescribed]) -> None:
    """Names and language: what a receiving organisation needs to greet somebody, and no more."""
    event = received.event
    p.upsert(
        p.table(store.person_known),
        {
            "person_id": event.person_id,
            "household_id": event.household_id,
            "given_name": event.given_name[:200],
            "family_name": event.family_name[:200],
            "language": event.language[:35],
            "holder": event.holder,
            "revision": event.revision,
        },
        key=("person_id",),
        newer="revision",
    )


@PEOPLE.on(PersonErased)
def person_erased(p: ProjectionTransaction, received: Received[PersonErased]) -> None:
    """A stub of the id stays, so that an older description that comes late is not believed."""
    p.upsert(
        p.table(store.person_known),
        {
            "person_id": received.event.person_id,
            "household_id": "",
            "given_name": "",
            "family_name": "",
            "language": "",
            "holder": False,
            "revision": store.FORGOTTEN,
        },
        key=("person_id",),
        newer="revision",
    )
