"""What the shop remembers of others: centres, households, their last balance, and cards.

A sale is answered from these alone, also when the bus is away. They may be late: a balance is the
last known one and only good for an early refusal; cards decides.
"""

from __future__ import annotations

from contracts import cards, identity
from messaging import Projection, ProjectionTransaction, Received
from solidarity_shop import store

CENTRES = Projection("centres_seen", version=1, tables=(store.centre_seen,))
HOUSEHOLDS = Projection(
    "households_seen", version=2, tables=(store.household_seen, store.balance_seen)
)
CARDS = Projection("cards_seen", version=1, tables=(store.card_seen,))


@CENTRES.on(identity.CentreOpened)
def centre_opened(p: ProjectionTransaction, received: Received[identity.CentreOpened]) -> None:
    centre = received.event
    p.upsert(
        p.table(store.centre_seen),
        {"centre_id": centre.centre_id, "time_zone": centre.time_zone[:64]},
        key=("centre_id",),
    )


@HOUSEHOLDS.on(cards.HouseholdRegistered)
def household_registered(
    p: ProjectionTransaction, received: Received[cards.HouseholdRegistered]
) -> None:
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "changed_at": received.order,
        },
        key=("household_id",),
        newer="changed_at",
    )


@HOUSEHOLDS.on(cards.HouseholdChanged)
def household_changed(p: ProjectionTransaction, received: Received[cards.HouseholdChanged]) -> None:
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "changed_at": received.order,
        },
        key=("household_id",),
        newer="changed_at",
    )


@HOUSEHOLDS.on(cards.HouseholdErased)
def household_erased(p: ProjectionTransaction, received: Received[cards.HouseholdErased]) -> None:
    """Its cards open nothing any more, whatever comes late."""
    event = received.event
    p.upsert(
        p.table(store.household_seen),
        {
            "household_id": event.household_id,
            "centre_id": event.centre_id,
            "erased": True,
            "changed_at": received.order,
        },
        key=("household_id",),
    )


def _balance(
    p: ProjectionTransaction, household_id: str, available: int, held: int | None, at: object
) -> None:
    row = {"household_id": household_id, "available": available, "changed_at": at}
    if held is not None:
        row["held"] = held
    p.upsert(p.table(store.balance_seen), row, key=("household_id",), newer="changed_at")


@HOUSEHOLDS.on(cards.PointsCredited)
def points_credited(p: ProjectionTransaction, received: Received[cards.PointsCredited]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, event.held, received.order)


@HOUSEHOLDS.on(cards.PointsDebited)
def points_debited(p: ProjectionTransaction, received: Received[cards.PointsDebited]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, event.held, received.order)


@HOUSEHOLDS.on(cards.PointsExpired)
def points_expired(p: ProjectionTransaction, received: Received[cards.PointsExpired]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, event.held, received.order)


@HOUSEHOLDS.on(cards.HoldPlaced)
def hold_placed(p: ProjectionTransaction, received: Received[cards.HoldPlaced]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, event.held, received.order)


@HOUSEHOLDS.on(cards.HoldDeclined)
def hold_declined(p: ProjectionTransaction, received: Received[cards.HoldDeclined]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, None, received.order)


@HOUSEHOLDS.on(cards.HoldCaptured)
def hold_captured(p: ProjectionTransaction, received: Received[cards.HoldCaptured]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, event.held, received.order)


@HOUSEHOLDS.on(cards.HoldReleased)
def hold_released(p: ProjectionTransaction, received: Received[cards.HoldReleased]) -> None:
    event = received.event
    _balance(p, event.household_id, event.available, event.held, received.order)


def _card(
    p: ProjectionTransaction, card_id: str, household_id: str, number: str, digest: str
) -> None:
    p.upsert(
        p.table(store.card_seen),
        {
            "card_id": card_id,
            "household_id": household_id,
            "number": number,
            "token_digest": digest,
        },
        key=("card_id",),
    )


def _blocked(p: ProjectionTransaction, card_id: str, household_id: str, reason: str) -> None:
    """Blocking is for ever, so it also holds for a card that is told of only later."""
    p.upsert(
        p.table(store.card_seen),
        {
            "card_id": card_id,
            "household_id": household_id,
            "blocked": True,
            "blocked_reason": reason[:60],
        },
        key=("card_id",),
    )


@CARDS.on(cards.CardIssued)
def card_issued(p: ProjectionTransaction, received: Received[cards.CardIssued]) -> None:
    event = received.event
    _card(p, event.card_id, event.household_id, event.number, event.token_digest)


@CARDS.on(cards.CardBlocked)
def card_blocked(p: ProjectionTransaction, received: Received[cards.CardBlocked]) -> None:
    event = received.event
    _blocked(p, event.card_id, event.household_id, event.reason)


@CARDS.on(cards.CardReplaced)
def card_replaced(p: ProjectionTransaction, received: Received[cards.CardReplaced]) -> None:
    event = received.event
    _blocked(p, event.card_id, event.household_id, "replaced")
    _card(p, event.new_card_id, event.household_id, event.number, event.token_digest)
