"""Facts of cards, on ``cards.events``, all keyed by household: what happens to one keeps its order.

Whoever shows a balance takes ``available`` and ``held`` from the last event of the household.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from contracts.event import Event, Id, Moment, Points

TOPIC = "cards.events"


class Purpose(StrEnum):
    """What a consent is for."""

    REGISTRATION = "registration"
    MESSAGES = "messages"
    REFERRALS = "referrals"


class Stage(StrEnum):
    """The path of the house: accoglienza, accompagnamento, autonomia (DOMAIN)."""

    WELCOME = "welcome"
    ACCOMPANIMENT = "accompaniment"
    AUTONOMY = "autonomy"


class CreditReason(StrEnum):
    """Why points came in."""

    SALE = "sale"
    ATTENDANCE = "attendance"
    ALLOWANCE = "allowance"
    ADJUSTMENT = "adjustment"
    REFUND = "refund"


class DebitReason(StrEnum):
    """Why points went out other than by paying or expiring."""

    ADJUSTMENT = "adjustment"
    REFUND = "refund"
    ATTENDANCE_CORRECTED = "attendance_corrected"


class PointsMoved(BaseModel):
    """A part of a transfer: points of one bucket; ``expires_at`` None never expire."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    points: int
    expires_at: Moment | None = None


class HouseholdRegistered(
    Event, type="cards.household.registered", topic=TOPIC, key="household_id"
):
    """A household is known to a centre. Names travel on ``cards.people``."""

    household_id: Id
    centre_id: Id
    holder_id: Id
    person_ids: tuple[str, ...]
    zone: str = ""
    """Part of the quarter, never an address."""
    registered_at: Moment


class HouseholdChanged(Event, type="cards.household.changed", topic=TOPIC, key="household_id"):
    """Members or zone are now these."""

    household_id: Id
    centre_id: Id
    holder_id: Id
    person_ids: tuple[str, ...]
    zone: str = ""
    changed_at: Moment
    left_ids: tuple[str, ...] = ()
    """Who left by this change."""
    holder_before: str = ""
    """Who held it until this change, when that is another than ``holder_id``."""


class HouseholdErased(Event, type="cards.household.erased", topic=TOPIC, key="household_id"):
    """All its people are erased; what remains has no name."""

    household_id: Id
    centre_id: Id
    erased_at: Moment


class ConsentGiven(Event, type="cards.consent.given", topic=TOPIC, key="household_id"):
    """The holder agreed to a purpose."""

    household_id: Id
    purpose: Purpose
    given_at: Moment


class ConsentWithdrawn(Event, type="cards.consent.withdrawn", topic=TOPIC, key="household_id"):
    """The holder withdrew; an unfinished referral of the household stops."""

    household_id: Id
    purpose: Purpose
    withdrawn_at: Moment


class CardIssued(Event, type="cards.card.issued", topic=TOPIC, key="household_id"):
    """A card is a key to the household's account. The token never travels, its digest does."""

    household_id: Id
    card_id: Id
    number: str
    """Printed on the card, digits with a check digit."""
    token_digest: str
    """SHA-256 of the QR token, hexadecimal."""
    issued_at: Moment


class CardBlocked(Event, type="cards.card.blocked", topic=TOPIC, key="household_id"):
    """The card opens nothing from now on; points are untouched."""

    household_id: Id
    card_id: Id
    reason: str
    """lost, stolen, replaced, other."""
    blocked_at: Moment


class CardReplaced(Event, type="cards.card.replaced", topic=TOPIC, key="household_id"):
    """The old card is blocked and a new one opens the same account."""

    household_id: Id
    card_id: Id
    new_card_id: Id
    number: str
    token_digest: str
    replaced_at: Moment


class PointsCredited(Event, type="cards.points.credited", topic=TOPIC, key="household_id"):
    """Points came in, once for each ``origin`` (the id of the sale, the attendance, the period).
    ``covered`` more settled what could not be taken before, and did not come in."""

    household_id: Id
    transfer_id: Id
    reason: CreditReason
    origin: str
    points: Points
    buckets: tuple[PointsMoved, ...]
    covered: Points = 0
    available: Points
    held: Points
    credited_at: Moment


class PointsDebited(Event, type="cards.points.debited", topic=TOPIC, key="household_id"):
    """Points went out by a correction; ``uncovered`` could not be taken (never below zero)."""

    household_id: Id
    transfer_id: Id
    reason: DebitReason
    origin: str
    points: Points
    buckets: tuple[PointsMoved, ...] = ()
    uncovered: Points = 0
    available: Points
    held: Points
    debited_at: Moment


class PointsExpired(Event, type="cards.points.expired", topic=TOPIC, key="household_id"):
    """What was not spent in time is lost."""

    household_id: Id
    transfer_id: Id
    points: Points
    buckets: tuple[PointsMoved, ...]
    available: Points
    held: Points
    expired_at: Moment


class HoldPlaced(Event, type="cards.hold.placed", topic=TOPIC, key="household_id"):
    """Points are set aside for a payment of the shop. ``hold_id`` is the shop's ``payment_id``."""

    household_id: Id
    hold_id: Id
    sale_id: Id
    points: Points
    buckets: tuple[PointsMoved, ...] = ()
    available: Points
    held: Points
    placed_at: Moment


class HoldDeclined(Event, type="cards.hold.declined", topic=TOPIC, key="household_id"):
    """No points were set aside. ``reason``: points.too_few, card.blocked, household.unknown, …"""

    household_id: Id
    hold_id: Id
    sale_id: Id
    reason: str
    points: Points
    available: Points
    declined_at: Moment


class HoldCaptured(Event, type="cards.hold.captured", topic=TOPIC, key="household_id"):
    """The sale took ``captured``, the rest was freed. ``uncovered``: a completion without a hold
    that found too few points; the coordinator sees it."""

    household_id: Id
    hold_id: Id
    sale_id: Id
    captured: Points
    released: Points = 0
    uncovered: Points = 0
    buckets: tuple[PointsMoved, ...] = ()
    available: Points
    held: Points
    captured_at: Moment


class HoldReleased(Event, type="cards.hold.released", topic=TOPIC, key="household_id"):
    """The hold ended without a sale: cancelled by the shop, or ``timed_out`` after 24 h."""

    household_id: Id
    hold_id: Id
    sale_id: Id
    points: Points
    timed_out: bool = False
    available: Points
    held: Points
    released_at: Moment


class StageChanged(Event, type="cards.path.stage_changed", topic=TOPIC, key="household_id"):
    """A person's path moved on (or back)."""

    household_id: Id
    person_id: Id
    stage: Stage
    changed_at: Moment


class EarningRule(BaseModel):
    """How points are earned from a day on; the last rule that has begun holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    per_euro: int = Field(default=0, ge=0, le=1000)
    """Points for each whole euro paid in money."""
    per_attendance: int = Field(default=0, ge=0, le=1000)
    """Points for each attendance."""
    valid_days: int = Field(default=365, ge=1, le=3650)
    """Days until earned points expire."""


class EarningRuleSet(Event, type="cards.earning_rule.set", topic=TOPIC, key="centre_id"):
    """From ``from_time`` on, a centre's earning rule is this."""

    centre_id: Id
    rule_id: Id
    rule: EarningRule
    from_time: Moment
    set_at: Moment
