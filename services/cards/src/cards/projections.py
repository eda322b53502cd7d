"""What cards remembers of everybody: the timeline of a household, its sign-ups and referrals; of a
centre its figures by day, what waits for somebody, and the shop's stock.

No names and nothing of what a need is about: the timeline is read at the desk.
"""

from __future__ import annotations

from datetime import UTC, datetime
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
    """One row for each event around a household, but for what only settled points that it owed.

    Whether a referral goes on without the family's consent is kept where its event says so or not:
    nobody knows it of those from before there was such a word.
    """
    event, said = received.event, vars(received.event)
    household_id = said.get("household_id")
    if not household_id or (isinstance(event, cards.PointsCredited) and not event.points):
        return
    moment, names = TIMELINE_OF[type(event)]
    facts = {name: said[name] for name in names}
    if "overridden" in event.model_fields_set:
        facts["overridden"] = said["overridden"]
    p.upsert(
        p.table(store.timeline),
        {
            "event_id": received.id,
            "household_id": household_id,
            "at": said[moment],
            "kind": event.TYPE,
            "facts": facts,
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


REFERRALS = Projection("referrals_seen", version=2, tables=(store.referral_seen,))
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
            "seen_at": received.order,
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


def _centre(received: Received[Any]) -> str:
    return vars(received.event).get("centre_id") or received.centre


FIGURES = Projection("figures", version=1, tables=(store.day_figure, store.register_seen))
COUNTED: dict[type[Event], tuple[str, tuple[tuple[str, str], ...]]] = {
    cards.HouseholdRegistered: ("registered_at", (("households", ""),)),
    cards.PointsCredited: ("credited_at", (("points_in", "points"),)),
    cards.HoldCaptured: ("captured_at", (("points_out", "captured"),)),
    shop.SaleCompleted: ("sold_at", (("sales", ""), ("sales_cents", "total_cents"))),
    notifications.MessageFailed: ("failed_at", (("messages_failed", ""),)),
    network.ReferralRequested: ("at", (("referrals", ""),)),
    network.ReferralCompleted: ("at", (("referrals_done", ""),)),
}
"""What is counted of a centre by day: the event's moment, and each figure with the field that it
adds up ("": the events themselves). A day is one of UTC: nobody sells at midnight."""


@FIGURES.on(*COUNTED)
def counted(p: ProjectionTransaction, received: Received[Event]) -> None:
    """A centre's figures of a day."""
    said = vars(received.event)
    moment, figures = COUNTED[type(received.event)]
    table, centre, day = p.table(store.day_figure), _centre(received), said[moment].date()
    for kind, field in figures:
        figure = said[field] if field else 1
        p.add(
            table,
            {"centre_id": centre, "day": day, "kind": kind, "figure": figure},
            key=("centre_id", "day", "kind"),
        )


@FIGURES.on(activities.RegisterTaken)
def register_taken(p: ProjectionTransaction, received: Received[activities.RegisterTaken]) -> None:
    """Who was there: the last register of a session counts, on the day on which it was taken."""
    event = received.event
    p.upsert(
        p.table(store.register_seen),
        {
            "session_id": event.session_id,
            "centre_id": event.centre_id,
            "day": event.taken_at.date(),
            "present": event.present,
            "revision": event.revision,
        },
        key=("session_id",),
        newer="revision",
    )


MATTERS = Projection(
    "matters", version=4, tables=(store.matter, store.till_day_seen, store.till_closed_seen)
)

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)
"""When the last word on a matter is said that is never open again: nothing is newer."""


def _matter(
    p: ProjectionTransaction,
    received: Received[Any],
    kind: str,
    item_id: str,
    at: datetime,
    due: datetime | None = None,
) -> None:
    """Open from `due` on; without one it is done. The newest word counts."""
    p.upsert(
        p.table(store.matter),
        {
            "kind": kind,
            "item_id": item_id,
            "centre_id": _centre(received),
            "is_open": due is not None,
            "due": due or at,
            "seen_at": at,
        },
        key=("kind", "item_id"),
        newer="seen_at",
    )


@MATTERS.on(network.ReferralRequested, network.ReferralRerouted)
def asked(p: ProjectionTransaction, received: Received[Any]) -> None:
    """An organisation owes an answer."""
    event = received.event
    _matter(p, received, "referral", event.referral_id, received.order, event.answer_by)


@MATTERS.on(
    network.ReferralAccepted,
    network.ReferralRejected,
    network.ReferralCompleted,
    network.ReferralCancelled,
    network.ReferralExpired,
)
def answered(p: ProjectionTransaction, received: Received[Any]) -> None:
    """Nobody waits for an answer any more."""
    _matter(p, received, "referral", received.event.referral_id, received.order)


@MATTERS.on(activities.SessionScheduled)
def scheduled(p: ProjectionTransaction, received: Received[activities.SessionScheduled]) -> None:
    """When it is over somebody takes the register."""
    event = received.event
    _matter(p, received, "register", event.session_id, received.order, event.ends_at)


@MATTERS.on(activities.SessionCancelled)
def called_off(p: ProjectionTransaction, received: Received[activities.SessionCancelled]) -> None:
    """Nobody was there."""
    _matter(p, received, "register", received.event.session_id, FOR_EVER)


@MATTERS.on(activities.RegisterTaken)
def taken(p: ProjectionTransaction, received: Received[activities.RegisterTaken]) -> None:
    """The register is there, also when the session is told again because its places changed."""
    _matter(p, received, "register", received.event.session_id, FOR_EVER)


@MATTERS.on(activities.SignUpOffered)
def offered(p: ProjectionTransaction, received: Received[activities.SignUpOffered]) -> None:
    """A family has until then to answer."""
    event = received.event
    _matter(p, received, "offer", event.signup_id, received.order, event.answer_by)


@MATTERS.on(activities.SignUpConfirmed, activities.OfferExpired, activities.SignUpCancelled)
def no_offer(p: ProjectionTransaction, received: Received[Any]) -> None:
    """The offer was taken, or is over."""
    _matter(p, received, "offer", received.event.signup_id, received.order)


@MATTERS.on(shop.SaleCompleted)
def sold(p: ProjectionTransaction, received: Received[shop.SaleCompleted]) -> None:
    """A till that sold is to be counted. The last sale of each of its days is kept (of UTC, as of
    the figures): what it sells today hides no day on which nobody counted it."""
    event = received.event
    p.upsert(
        p.table(store.till_day_seen),
        {
            "till_id": event.till_id,
            "day": event.sold_at.date(),
            "centre_id": _centre(received),
            "sold_at": event.sold_at,
        },
        key=("till_id", "day"),
        newer="sold_at",
    )


@MATTERS.on(shop.DayClosed)
def closed(p: ProjectionTransaction, received: Received[shop.DayClosed]) -> None:
    """A till was counted, with all that it had sold until then."""
    event = received.event
    p.upsert(
        p.table(store.till_closed_seen),
        {"till_id": event.till_id, "closed_at": event.closed_at},
        key=("till_id",),
        newer="closed_at",
    )


STOCK = Projection("stock_seen", version=3, tables=(store.product_seen, store.stock_seen))


@STOCK.on(shop.ProductChanged)
def product_changed(p: ProjectionTransaction, received: Received[shop.ProductChanged]) -> None:
    """At how many pieces a product runs out, and whether it is for sale."""
    event = received.event
    p.upsert(
        p.table(store.product_seen),
        {
            "product_id": event.product_id,
            "centre_id": event.centre_id,
            "minimum": event.minimum,
            "sellable": event.sellable,
            "changed_at": received.order,
        },
        key=("product_id",),
        newer="changed_at",
    )


@STOCK.on(shop.StockMoved)
def stock_moved(p: ProjectionTransaction, received: Received[shop.StockMoved]) -> None:
    """What is on hand; the newest word counts."""
    event = received.event
    p.upsert(
        p.table(store.stock_seen),
        {"product_id": event.product_id, "on_hand": event.on_hand, "moved_at": received.order},
        key=("product_id",),
        newer="moved_at",
    )


PROJECTIONS = (TIMELINE, SIGNUPS, REFERRALS, CENTRES, FIGURES, MATTERS, STOCK)
