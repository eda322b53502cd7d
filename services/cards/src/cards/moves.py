"""What moves points: each function books one transfer or changes one hold, and tells it.

Commands, policies and jobs all go through here, and so does the adoption after a restore. Every
event carries what the household has afterwards (``available``, ``held``). Nothing here decides
whether something should happen; that is done once for each cause by the callers, and the unique
``cause`` of a transfer is the last guard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cards.domain import points as domain
from cards.domain.points import NEVER, LedgerAccount, Part, TransferKind
from cards.store.ledger import Ledger
from cards.store.rows import HoldRow, HoldState, HouseholdRow
from contracts import cards as facts
from contracts.cards import CreditReason, DebitReason
from runtime.logging import get_logger

log = get_logger()

CREDITS: dict[CreditReason, tuple[TransferKind, LedgerAccount]] = {
    CreditReason.SALE: (TransferKind.SALE, LedgerAccount.SHOP),
    CreditReason.ATTENDANCE: (TransferKind.ATTENDANCE, LedgerAccount.ACTIVITIES),
    CreditReason.ALLOWANCE: (TransferKind.ALLOWANCE, LedgerAccount.ALLOWANCE),
    CreditReason.ADJUSTMENT: (TransferKind.ADJUSTMENT, LedgerAccount.ADJUSTMENT),
    CreditReason.REFUND: (TransferKind.REFUND, LedgerAccount.REDEMPTION),
}
"""What a credit is booked as, and against which account."""

DEBITS: dict[DebitReason, tuple[TransferKind, LedgerAccount]] = {
    DebitReason.ADJUSTMENT: (TransferKind.ADJUSTMENT, LedgerAccount.ADJUSTMENT),
    DebitReason.REFUND: (TransferKind.REFUND_EARNED, LedgerAccount.SHOP),
    DebitReason.ATTENDANCE_CORRECTED: (
        TransferKind.ATTENDANCE_CORRECTED,
        LedgerAccount.ACTIVITIES,
    ),
}


@dataclass(frozen=True)
class Standing:
    """What a household has now."""

    available: int
    held: int


def standing(ledger: Ledger, household_id: str) -> Standing:
    """What can be spent and what is set aside."""
    account = ledger.account(household_id)
    return Standing(account.available(ledger.tx.now), account.held)


def credit_cause(reason: CreditReason, origin: str) -> str:
    """The unique cause of a credit: one for each reason and origin."""
    return f"credit:{reason}:{origin}"


def debit_cause(reason: DebitReason, origin: str) -> str:
    """The unique cause of a debit."""
    return f"debit:{reason}:{origin}"


def credit(
    ledger: Ledger,
    household: HouseholdRow,
    reason: CreditReason,
    origin: str,
    points: int,
    expires_at: datetime,
    *,
    covered: int = 0,
    note: str = "",
) -> int:
    """Points come in, and ``covered`` more settle what was uncovered before. Gives what came in.

    What is above the most that a household can have is not credited.
    """
    account = ledger.account(household.id)
    points = min(points, account.room)
    if points <= 0 and covered <= 0:
        return 0
    kind, source = CREDITS[reason]
    parts = account.credit(points, expires_at) if points > 0 else ()
    transfer_id = ledger.post(
        household,
        kind,
        credit_cause(reason, origin),
        origin,
        domain.incoming(parts, source, covered=covered),
        note=note,
    )
    points = domain.total(parts)
    now = standing(ledger, household.id)
    ledger.tx.emit(
        facts.PointsCredited(
            household_id=household.id,
            transfer_id=transfer_id,
            reason=reason,
            origin=origin,
            points=points,
            buckets=told(parts),
            covered=covered,
            available=now.available,
            held=now.held,
            credited_at=ledger.tx.now,
        ),
        centre=household.centre_id,
    )
    return points


def debit(
    ledger: Ledger,
    household: HouseholdRow,
    reason: DebitReason,
    origin: str,
    points: int,
    *,
    note: str = "",
) -> int:
    """Take points back, soonest-expiring first; what cannot be taken is booked as uncovered.

    Gives what could be taken.
    """
    if points <= 0:
        return 0
    kind, target = DEBITS[reason]
    parts = ledger.account(household.id).take_up_to(points, ledger.tx.now)
    taken = domain.total(parts)
    transfer_id = ledger.post(
        household,
        kind,
        debit_cause(reason, origin),
        origin,
        domain.outgoing(parts, target, uncovered=points - taken),
        note=note,
    )
    if taken < points:
        log.warning("cards.points.uncovered", reason=str(reason), count=points - taken)
    now = standing(ledger, household.id)
    ledger.tx.emit(
        facts.PointsDebited(
            household_id=household.id,
            transfer_id=transfer_id,
            reason=reason,
            origin=origin,
            points=taken,
            buckets=told(parts),
            uncovered=points - taken,
            available=now.available,
            held=now.held,
            debited_at=ledger.tx.now,
        ),
        centre=household.centre_id,
    )
    return taken


def place(ledger: Ledger, household: HouseholdRow, hold: HoldRow) -> None:
    """Set the points of a hold aside. Raises ``TooFew`` and changes nothing when it cannot."""
    hold.parts = ledger.account(household.id).hold(hold.points, ledger.tx.now)
    ledger.put_hold(hold)
    ledger.account_changed(household.id)
    now = standing(ledger, household.id)
    ledger.tx.emit(
        facts.HoldPlaced(
            household_id=household.id,
            hold_id=hold.id,
            sale_id=hold.sale_id,
            points=hold.points,
            buckets=told(hold.parts),
            available=now.available,
            held=now.held,
            placed_at=hold.placed_at,
        ),
        centre=household.centre_id,
    )


def decline(ledger: Ledger, hold: HoldRow, reason: str, centre_id: str) -> None:
    """No points are set aside, and why."""
    hold.state, hold.reason, hold.ended_at = HoldState.DECLINED, reason, ledger.tx.now
    ledger.put_hold(hold)
    account = ledger.accounts.get(hold.household_id)
    ledger.tx.emit(
        facts.HoldDeclined(
            household_id=hold.household_id,
            hold_id=hold.id,
            sale_id=hold.sale_id,
            reason=reason,
            points=hold.points,
            available=account.available(ledger.tx.now) if account else 0,
            declined_at=ledger.tx.now,
        ),
        centre=centre_id,
    )
    log.info("cards.hold.declined", reason=reason)


def capture(
    ledger: Ledger, household: HouseholdRow, hold: HoldRow, points: int, origin: str
) -> int:
    """A completed sale takes ``points``: from its hold, from what is available, or uncovered.

    Gives what was uncovered. A hold of which nothing is taken is released.
    """
    if points <= 0:
        release(ledger, household, hold)
        return 0
    parts = hold.parts if hold.open else ()
    outcome = ledger.account(household.id).capture(parts, points, ledger.tx.now)
    ledger.post(
        household,
        TransferKind.REDEMPTION,
        f"capture:{hold.id}",
        origin,
        domain.outgoing(outcome.spent, LedgerAccount.REDEMPTION, uncovered=outcome.uncovered),
    )
    hold.state, hold.ended_at = HoldState.CAPTURED, ledger.tx.now
    hold.captured, hold.uncovered = outcome.captured, outcome.uncovered
    ledger.put_hold(hold)
    if outcome.uncovered:
        log.warning("cards.points.uncovered", reason="sale", count=outcome.uncovered)
    now = standing(ledger, household.id)
    ledger.tx.emit(
        facts.HoldCaptured(
            household_id=household.id,
            hold_id=hold.id,
            sale_id=hold.sale_id,
            captured=outcome.captured,
            released=outcome.released,
            uncovered=outcome.uncovered,
            buckets=told(outcome.spent),
            available=now.available,
            held=now.held,
            captured_at=ledger.tx.now,
        ),
        centre=household.centre_id,
    )
    return outcome.uncovered


def release(
    ledger: Ledger, household: HouseholdRow, hold: HoldRow, *, timed_out: bool = False
) -> None:
    """Free an open hold; one that has ended stays as it is."""
    if not hold.open:
        return
    freed = ledger.account(household.id).release(hold.parts)
    hold.state = HoldState.TIMED_OUT if timed_out else HoldState.RELEASED
    hold.ended_at = ledger.tx.now
    ledger.put_hold(hold)
    ledger.account_changed(household.id)
    now = standing(ledger, household.id)
    ledger.tx.emit(
        facts.HoldReleased(
            household_id=household.id,
            hold_id=hold.id,
            sale_id=hold.sale_id,
            points=freed,
            timed_out=timed_out,
            available=now.available,
            held=now.held,
            released_at=ledger.tx.now,
        ),
        centre=household.centre_id,
    )


def expire(ledger: Ledger, household: HouseholdRow) -> int:
    """Points whose time has come and that are not held are lost; gives how many."""
    return _expired(ledger, household, ledger.account(household.id).expire(ledger.tx.now))


def forfeit(ledger: Ledger, household: HouseholdRow) -> int:
    """All free points of a household that is erased are lost, as if expired."""
    account = ledger.account(household.id)
    parts = (*account.expire(ledger.tx.now), *account.take_up_to(domain.MOST, ledger.tx.now))
    return _expired(ledger, household, parts)


def _expired(ledger: Ledger, household: HouseholdRow, parts: tuple[Part, ...]) -> int:
    if not parts:
        return 0
    points = domain.total(parts)
    transfer_id = ledger.tx.ids.new()
    ledger.post(
        household,
        TransferKind.EXPIRY,
        f"expiry:{transfer_id}",
        "",
        domain.outgoing(parts, LedgerAccount.EXPIRY),
        transfer_id=transfer_id,
    )
    now = standing(ledger, household.id)
    ledger.tx.emit(
        facts.PointsExpired(
            household_id=household.id,
            transfer_id=transfer_id,
            points=points,
            buckets=told(parts),
            available=now.available,
            held=now.held,
            expired_at=ledger.tx.now,
        ),
        centre=household.centre_id,
    )
    return points


def told(parts: Iterable[Part]) -> tuple[facts.PointsMoved, ...]:
    """The parts of a transfer as an event tells them."""
    return tuple(
        [
            facts.PointsMoved(points=points, expires_at=None if when == NEVER else when)
            for when, points in parts
        ]
    )


def heard(buckets: Iterable[facts.PointsMoved]) -> tuple[Part, ...]:
    """The parts of a transfer as an event told them."""
    return tuple(
        Part(NEVER if bucket.expires_at is None else bucket.expires_at, bucket.points)
        for bucket in buckets
        if bucket.points
    )
