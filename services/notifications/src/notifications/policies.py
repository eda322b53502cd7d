"""Which facts of the others make a message. Effects outside are rows for the worker, never here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.activities import (
    OfferExpired,
    SignUpCancelled,
    SignUpConfirmed,
    SignUpOffered,
    SignUpWaitlisted,
)
from contracts.cards import (
    CreditReason,
    HouseholdErased,
    HouseholdRegistered,
    PointsCredited,
    PointsExpired,
)
from contracts.event import Event
from contracts.network import ReferralAccepted, ReferralCompleted, ReferralRejected
from contracts.people import PersonErased
from messaging import NotYet, Policies, Received, Transaction
from notifications import commands, store
from notifications.commands import News
from notifications.domain.kinds import Kind

policies = Policies()

SignUpFact = SignUpConfirmed | SignUpWaitlisted | SignUpOffered | OfferExpired | SignUpCancelled
ReferralFact = ReferralAccepted | ReferralRejected | ReferralCompleted

CANCELLED = {"by_staff": Kind.SIGN_UP_CANCELLED, "session_cancelled": Kind.SESSION_CANCELLED}
"""Reasons of a cancelled sign-up of which the person is told; the others were their own doing."""

CREDITED = {
    CreditReason.ATTENDANCE: Kind.POINTS_FOR_ATTENDANCE,
    CreditReason.ALLOWANCE: Kind.POINTS_ALLOWANCE,
}
"""Points of a sale stand on its receipt."""


@policies.on(SignUpConfirmed)
def sign_up_confirmed(tx: Transaction, received: Received[SignUpConfirmed]) -> None:
    _about_sign_up(tx, received, received.event, Kind.SIGN_UP_CONFIRMED)


@policies.on(SignUpWaitlisted)
def sign_up_waitlisted(tx: Transaction, received: Received[SignUpWaitlisted]) -> None:
    event = received.event
    _about_sign_up(tx, received, event, Kind.SIGN_UP_WAITLISTED, position=event.position)


@policies.on(SignUpOffered)
def sign_up_offered(tx: Transaction, received: Received[SignUpOffered]) -> None:
    event = received.event
    _about_sign_up(
        tx,
        received,
        event,
        Kind.SIGN_UP_OFFERED,
        useful_until=event.answer_by,
        answer_by=event.answer_by.isoformat(),
    )


@policies.on(OfferExpired)
def offer_expired(tx: Transaction, received: Received[OfferExpired]) -> None:
    _about_sign_up(tx, received, received.event, Kind.OFFER_EXPIRED)


@policies.on(SignUpCancelled)
def sign_up_cancelled(tx: Transaction, received: Received[SignUpCancelled]) -> None:
    event = received.event
    kind = CANCELLED.get(event.reason)
    if kind is None:
        _overtakes(tx, received, event)
    else:
        _about_sign_up(tx, received, event, kind, useful_until=event.starts_at)


@policies.on(PointsCredited)
def points_credited(tx: Transaction, received: Received[PointsCredited]) -> None:
    event = received.event
    kind = CREDITED.get(event.reason)
    if kind is not None and event.points:
        _to_holder(
            tx,
            received,
            event.household_id,
            kind,
            points=event.points,
            available=event.available,
        )


@policies.on(PointsExpired)
def points_expired(tx: Transaction, received: Received[PointsExpired]) -> None:
    event = received.event
    if event.points:
        _to_holder(
            tx,
            received,
            event.household_id,
            Kind.POINTS_EXPIRED,
            points=event.points,
            available=event.available,
        )


@policies.on(HouseholdRegistered)
def household_registered(tx: Transaction, received: Received[HouseholdRegistered]) -> None:
    event = received.event
    commands.tell(
        tx,
        News(
            intent=received.id,
            kind=Kind.WELCOME,
            centre_id=event.centre_id,
            household_id=event.household_id,
            person_id=event.holder_id,
            told_at=received.time,
        ),
    )


@policies.on(ReferralAccepted)
def referral_accepted(tx: Transaction, received: Received[ReferralAccepted]) -> None:
    _about_referral(tx, received, received.event, Kind.REFERRAL_ACCEPTED)


@policies.on(ReferralRejected)
def referral_rejected(tx: Transaction, received: Received[ReferralRejected]) -> None:
    _about_referral(tx, received, received.event, Kind.REFERRAL_REJECTED)


@policies.on(ReferralCompleted)
def referral_completed(tx: Transaction, received: Received[ReferralCompleted]) -> None:
    _about_referral(tx, received, received.event, Kind.REFERRAL_COMPLETED)


@policies.on(PersonErased)
def person_erased(tx: Transaction, received: Received[PersonErased]) -> None:
    """Nothing about them stays, and what comes late makes no message."""
    commands.forget_person(tx, received.event.person_id)


@policies.on(HouseholdErased)
def household_erased(tx: Transaction, received: Received[HouseholdErased]) -> None:
    commands.forget_household(tx, received.event.household_id)


def _about_sign_up(
    tx: Transaction,
    received: Received[Any],
    event: SignUpFact,
    kind: Kind,
    *,
    useful_until: datetime | None = None,
    **more: Any,
) -> None:
    _overtakes(tx, received, event)
    commands.tell(
        tx,
        News(
            intent=received.id,
            kind=kind,
            centre_id=event.centre_id,
            household_id=event.household_id,
            person_id=event.person_id,
            told_at=received.time,
            data={"title": event.title[:200], "starts_at": event.starts_at.isoformat(), **more},
            useful_until=useful_until,
            about=event.signup_id,
            happened_at=event.at,
        ),
    )


def _overtakes(tx: Transaction, received: Received[Any], event: SignUpFact) -> None:
    """Nobody is told any more what the sign-up was before."""
    commands.overtake(tx, event.signup_id, intent=received.id, happened_at=event.at)


def _about_referral(
    tx: Transaction, received: Received[Any], event: ReferralFact, kind: Kind
) -> None:
    """To the household, in neutral words: neither the organisation nor its kind (DOMAIN).

    Nothing of one that goes on without its consent: who reads the household's messages may be the
    one from whom somebody is protected.
    """
    if event.household_id and not event.overridden:
        _to_holder(tx, received, event.household_id, kind)


def _to_holder(
    tx: Transaction, received: Received[Event], household_id: str, kind: Kind, **data: Any
) -> None:
    """Tell the holder of a household. Raises NotYet while the household is not known."""
    home = store.household(tx.connection, household_id)
    if home is None:
        raise NotYet(f"household {household_id}")
    if home.erased:
        return
    commands.tell(
        tx,
        News(
            intent=received.id,
            kind=kind,
            centre_id=home.centre_id,
            household_id=household_id,
            person_id=home.holder_id,
            told_at=received.time,
            data=data,
        ),
    )
