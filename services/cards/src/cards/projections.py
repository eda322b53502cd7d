"""What cards remembers of everybody: the timeline of a household, its sign-ups and referrals.

No names and nothing of what a need is about: the timeline is read at the desk.
"""

from __future__ import annotations

from typing import Any

from cards import store
from contracts import Event, activities, cards, network, notifications, shop
from contracts.identity import CentreOpened
from messaging import Projection, ProjectionTransaction, Received

TIMELINE_OF: dict[type[Event], tuple[str, tuple[str, ...]]] = {
    cards.HouseholdRegistered: ("registered_at", ()),
    cards.HouseholdChanged: ("changed_at", ()),
    cards.HouseholdErased: ("erased_at", ()),
    cards.ConsentGiven: ("given_at", ("purpose",)),
    cards.ConsentWithdrawn: ("withdrawn_at", ("purpose",)),
    cards.CardIssued: ("issued_at", ("card_id",)),
    cards.CardBlocked: ("blocked_at", ("card_id", "reason")),
    cards.CardReplaced: ("replaced_at", ("card_id", "new_card_id")),
    cards.PointsCredited: ("credited_at", ("points", "reason", "available")),
    cards.PointsDebited: ("debited_at", ("points", "reason", "uncovered", "available")),
    cards.PointsExpired: ("expired_at", ("points", "available")),
    cards.HoldPlaced: ("placed_at", ("points", "sale_id")),
    cards.HoldDeclined: ("declined_at", ("points", "reason", "sale_id")),
    cards.HoldCaptured: ("captured_at", ("captured", "uncovered", "sale_id", "available")),
    cards.HoldReleased: ("released_at", ("points", "timed_out", "sale_id")),
    cards.StageChanged: ("changed_at", ("person_id", "stage")),
    shop.SaleCompleted: ("sold_at", ("sale_id", "total_cents", "money_cents", "points")),
    shop.SaleCancelled: ("cancelled_at", ("sale_id", "reason")),
    shop.SaleRefunded: ("refunded_at", ("sale_id", "total_cents", "money_cents", "points")),
    activities.SignUpConfirmed: ("at", ("person_id", "session_id", "title", "starts_at")),
    activities.SignUpWaitlisted: (
        "at",
        ("person_id", "session_id", "title", "starts_at", "position"),
    ),
    activities.SignUpOffered: (
        "at",
        ("person_id", "session_id", "title", "starts_at", "answer_by"),
    ),
    activities.OfferExpired: ("at", ("person_id", "session_id", "title", "starts_at")),
    activities.SignUpCancelled: (
        "at",
        ("person_id", "session_id", "title", "starts_at", "reason"),
    ),
    activities.AttendanceRecorded: (
        "recorded_at",
        ("person_id", "session_id", "title", "starts_at", "present"),
    ),
    notifications.MessageDelivered: ("delivered_at", ("person_id", "kind", "channel")),
    notifications.MessageFailed: ("failed_at", ("person_id", "kind", "channel", "state")),
    notifications.ContactUnreachable: ("seen_at", ("person_id", "channel")),
    network.NeedRecorded: ("recorded_at", ()),
    network.ReferralRequested: ("at", ("referral_id", "answer_by")),
    network.ReferralAccepted: ("at", ("referral_id",)),
    network.ReferralRejected: ("at", ("referral_id", "reason")),
    network.ReferralRerouted: ("at", ("referral_id", "answer_by")),
    network.ReferralOverdue: ("at", ("referral_id",)),
    network.ReferralCompleted: ("at", ("referral_id", "outcome")),
    network.ReferralCancelled: ("at", ("referral_id", "reason")),
    network.ReferralExpired: ("at", ("referral_id",)),
}
"""Every event with a household: the field with its moment, and the facts that are kept."""

TIMELINE = Projection("timeline", version=1, tables=(store.timeline,))


@TIMELINE.on(*TIMELINE_OF)
def happened(p: ProjectionTransaction, received: Received[Event]) -> None:
    """One row for each event around a household."""
    event = received.event
    household_id = getattr(event, "household_id", "")
    if not household_id:
        return
    moment, facts = TIMELINE_OF[type(event)]
    p.upsert(
        p.table(store.timeline),
        {
            "event_id": received.id,
            "household_id": household_id,
            "at": getattr(event, moment),
            "kind": event.TYPE,
            "facts": event.model_dump(mode="json", include=set(facts)),
        },
        key=("event_id",),
    )


SIGNUPS = Projection("signups_seen", version=1, tables=(store.signup_seen,))
SIGNUP_STATES: dict[type[Event], str] = {
    activities.SignUpConfirmed: "confirmed",
    activities.SignUpWaitlisted: "waitlisted",
    activities.SignUpOffered: "offered",
    activities.OfferExpired: "expired",
    activities.SignUpCancelled: "cancelled",
}
LIVE_SIGNUPS = ("confirmed", "waitlisted", "offered")


@SIGNUPS.on(*SIGNUP_STATES)
def signed_up(p: ProjectionTransaction, received: Received[Any]) -> None:
    """How a sign-up stands; the newest word counts."""
    event = received.event
    p.upsert(
        p.table(store.signup_seen),
        {
            "signup_id": event.signup_id,
            "household_id": event.household_id,
            "session_id": event.session_id,
            "title": event.title[:300],
            "starts_at": event.starts_at,
            "state": SIGNUP_STATES[type(event)],
            "seen_at": event.at,
        },
        key=("signup_id",),
        newer="seen_at",
    )


REFERRALS = Projection("referrals_seen", version=1, tables=(store.referral_seen,))
REFERRAL_STATES: dict[type[Event], str] = {
    network.ReferralRequested: "requested",
    network.ReferralRerouted: "requested",
    network.ReferralOverdue: "requested",
    network.ReferralAccepted: "accepted",
    network.ReferralRejected: "rejected",
    network.ReferralCompleted: "completed",
    network.ReferralCancelled: "cancelled",
    network.ReferralExpired: "expired",
}
OPEN_REFERRALS = ("requested", "accepted")


@REFERRALS.on(*REFERRAL_STATES)
def referred(p: ProjectionTransaction, received: Received[Any]) -> None:
    """How a referral stands; the newest word counts."""
    event = received.event
    if not event.household_id:
        return
    p.upsert(
        p.table(store.referral_seen),
        {
            "referral_id": event.referral_id,
            "household_id": event.household_id,
            "state": REFERRAL_STATES[type(event)],
            "seen_at": event.at,
        },
        key=("referral_id",),
        newer="seen_at",
    )


CENTRES = Projection("centres_seen", version=1, tables=(store.centre_seen,))


@CENTRES.on(CentreOpened)
def centre_opened(p: ProjectionTransaction, received: Received[CentreOpened]) -> None:
    """A centre's name, and the zone in which its days end."""
    event = received.event
    p.upsert(
        p.table(store.centre_seen),
        {
            "centre_id": event.centre_id,
            "name": event.name[:200],
            "time_zone": event.time_zone[:60],
            "opened_at": event.opened_at,
        },
        key=("centre_id",),
    )


PROJECTIONS = (TIMELINE, SIGNUPS, REFERRALS, CENTRES)
