"""What cards does because of what others tell: holds for the till, points for sales and attendance.

Every reaction is decided once for each sale, payment, refund and attendance revision, also when
the event comes again in another guise: the rows of ``hold``, ``sale``, ``refund`` and
``attendance`` remember it. A household that was never heard of is not known *yet*; one that was
erased is unknown for ever.

``CardPolicies.prefetch`` sees the whole batch at once: every household, hold, sale and attendance
that it names is locked in id order and read with one query per table, so that the reactions
themselves ask the store nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cards import moves, store
from cards.domain import earning
from cards.domain.card import CardState
from cards.domain.points import TooFew
from cards.store.ledger import Ledger
from cards.store.rows import AttendanceRow, HoldRow, HoldState, HouseholdRow, SaleRow, SaleState
from contracts import Event
from contracts.activities import AttendanceRecorded
from contracts.cards import CreditReason, DebitReason
from contracts.shop import PointsPaymentRequested, SaleCancelled, SaleCompleted, SaleRefunded
from messaging import NotYet, Policies, Received, Transaction

CARDS = "cards"


class CardPolicies(Policies):
    """Policies whose batch is loaded as one, whatever types of events it holds.

    Locks taken type by type would come in another order in another replica, and deadlock.
    """

    def prefetch(self, tx: Transaction, batch: Sequence[Received[Event]]) -> None:
        """Lock and read all that the batch names."""
        ledger = Ledger.of(tx)
        named = _Named()
        for received in batch:
            named.add(received.event)
        households = named.households | ledger.owners(sales=named.homeless)
        ledger.load(
            households=households,
            sales=named.sales,
            holds=named.holds,
            refunds=named.refunds,
            attendances=named.attendances,
        )
        homes = {household.centre_id for household in ledger.households.values()}
        ledger.load_centres(homes | named.centres)
        _load_cards(tx, named.cards)


policies = CardPolicies()


class _Named:
    """What the events of a batch name."""

    def __init__(self) -> None:
        self.centres: set[str] = set()
        self.households: set[str] = set()
        self.sales: set[str] = set()
        self.homeless: set[str] = set()
        self.holds: set[str] = set()
        self.refunds: set[str] = set()
        self.attendances: set[tuple[str, str]] = set()
        self.cards: set[str] = set()

    def add(self, event: Event) -> None:
        """Note what this event names, if it is one that moves points."""
        match event:
            case SaleCompleted():
                if not event.household_id and not event.payment_id:
                    return
                self.centres.add(event.centre_id)
                self.holds.add(event.payment_id)
            case SaleCancelled():
                self.holds.add(event.payment_id)
            case SaleRefunded():
                self.centres.add(event.centre_id)
                self.refunds.add(event.refund_id)
            case PointsPaymentRequested():
                self.holds.add(event.payment_id)
                self.cards.add(event.card_id)
            case AttendanceRecorded():
                self.centres.add(event.centre_id)
                self.households.add(event.household_id)
                self.attendances.add((event.session_id, event.person_id))
                return
            case _:
                return
        self.sales.add(event.sale_id)
        if event.household_id:
            self.households.add(event.household_id)
        else:
            self.homeless.add(event.sale_id)


@policies.on(PointsPaymentRequested)
def set_points_aside(tx: Transaction, received: Received[PointsPaymentRequested]) -> None:
    """The till asks for points: a hold is placed, or declined with the reason.

    A payment that was answered is not answered again, and one whose sale has ended meanwhile
    leaves no hold: the shop has its end already. A sale has one open hold at most; a new request
    takes the place of the one before.
    """
    event = received.event
    ledger = Ledger.of(tx)
    household = _household(ledger, event.household_id)
    ledger.load(sales=[event.sale_id], holds=[event.payment_id])
    if event.payment_id in ledger.holds or event.sale_id in ledger.sales:
        return
    hold = HoldRow(
        id=event.payment_id,
        household_id=household.id,
        sale_id=event.sale_id,
        points=event.points,
        state=HoldState.PLACED,
        placed_at=tx.now,
    )
    reason = _refused(tx, household, event)
    if reason:
        moves.decline(ledger, hold, reason, household.centre_id)
        return
    before = ledger.open_hold_of(event.sale_id)
    if before is not None:
        owner = _household(ledger, before.household_id)
        moves.release(ledger, owner, before)
    try:
        moves.place(ledger, household, hold)
    except TooFew:
        moves.decline(ledger, hold, "points.too_few", household.centre_id)


@policies.on(SaleCompleted)
def book_sale(tx: Transaction, received: Received[SaleCompleted]) -> None:
    """A sale is done: take the points that it cost, give those that its money earns.

    Never refused: without a hold it takes what is available and books the rest as uncovered.
    """
    event = received.event
    ledger = Ledger.of(tx)
    if not event.household_id and not event.payment_id:
        return
    ledger.load(sales=[event.sale_id], holds=[event.payment_id], households=[event.household_id])
    known = ledger.sales.get(event.sale_id)
    if known is not None and known.state is SaleState.COMPLETED:
        return
    hold = ledger.holds.get(event.payment_id)
    owner = event.household_id or (hold.household_id if hold else "")
    household = _household(ledger, owner)
    uncovered = _take_payment(ledger, household, hold, event)
    rule = ledger.rule(event.centre_id, event.sold_at)
    points = earning.earned_by_money(event.money_cents, rule.per_euro)
    moves.credit(
        ledger,
        household,
        CreditReason.SALE,
        event.sale_id,
        points,
        _expiry(ledger, household, rule, event.sold_at),
    )
    ledger.put_sale(
        SaleRow(
            id=event.sale_id,
            household_id=household.id,
            state=SaleState.COMPLETED,
            money_cents=event.money_cents,
            refunded_cents=0,
            per_euro=rule.per_euro,
            uncovered=uncovered,
            ended_at=event.sold_at,
        )
    )


@policies.on(SaleCancelled)
def free_points(tx: Transaction, received: Received[SaleCancelled]) -> None:
    """A sale will not be: its hold is freed, and a request that comes late finds it ended."""
    event = received.event
    ledger = Ledger.of(tx)
    ledger.load(
        households=ledger.owners(sales=[event.sale_id])
        if not event.household_id
        else [event.household_id],
        sales=[event.sale_id],
        holds=[event.payment_id],
    )
    if event.sale_id in ledger.sales:
        return
    hold = ledger.open_hold_of(event.sale_id)
    if hold is not None:
        moves.release(ledger, _household(ledger, hold.household_id), hold)
    ledger.put_sale(
        SaleRow(
            id=event.sale_id,
            household_id=event.household_id or (hold.household_id if hold else ""),
            state=SaleState.CANCELLED,
            money_cents=0,
            refunded_cents=0,
            per_euro=0,
            uncovered=0,
            ended_at=event.cancelled_at,
        )
    )


@policies.on(SaleRefunded)
def refund_points(tx: Transaction, received: Received[SaleRefunded]) -> None:
    """Goods came back: spent points return, earned ones are taken back.

    What nobody had paid (uncovered) is not given back but settled first. Earned points are counted
    on the money that stays paid, by the rule that held at the sale.
    """
    event = received.event
    ledger = Ledger.of(tx)
    ledger.load(sales=[event.sale_id], refunds=[event.refund_id], households=[event.household_id])
    if event.refund_id in ledger.refunds:
        return
    sale = ledger.sales.get(event.sale_id)
    owner = event.household_id or (sale.household_id if sale else "")
    if not owner:
        return
    household = _household(ledger, owner)
    rule = ledger.rule(event.centre_id, event.refunded_at)
    covered = min(event.points, sale.uncovered) if sale else 0
    moves.credit(
        ledger,
        household,
        CreditReason.REFUND,
        event.refund_id,
        event.points - covered,
        _expiry(ledger, household, rule, event.refunded_at),
        covered=covered,
    )
    if sale is None:
        # Forgotten by a restore: the rule of today is the best that is known.
        lost = earning.earned_by_money(event.money_cents, rule.per_euro)
    else:
        lost = earning.lost_by_refund(
            sale.money_cents, sale.refunded_cents, event.money_cents, sale.per_euro
        )
        sale.refunded_cents += event.money_cents
        sale.uncovered -= covered
        ledger.put_sale(sale)
    moves.debit(ledger, household, DebitReason.REFUND, event.refund_id, lost)
    ledger.put_refund(event.refund_id, event.sale_id, household.id)


@policies.on(AttendanceRecorded)
def reward_attendance(tx: Transaction, received: Received[AttendanceRecorded]) -> None:
    """Who was there earns points once; a correction takes them back, another gives them again.

    What a correction could not take back, because it was spent, is not given again but settled. The
    greatest revision of a (session, person) wins, in whatever order they come.
    """
    event = received.event
    ledger = Ledger.of(tx)
    household = _household(ledger, event.household_id)
    ledger.load(attendances=[(event.session_id, event.person_id)])
    key = (event.session_id, event.person_id)
    before = ledger.attendances.get(key)
    if before is not None and before.revision >= event.revision:
        return
    credited, uncovered = (before.credited, before.uncovered) if before else (0, 0)
    origin = f"{event.session_id}:{event.person_id}:{event.revision}"
    if event.present and credited == 0:
        rule = ledger.rule(event.centre_id, event.starts_at)
        covered = min(rule.per_attendance, uncovered)
        credited = covered + moves.credit(
            ledger,
            household,
            CreditReason.ATTENDANCE,
            origin,
            rule.per_attendance - covered,
            _expiry(ledger, household, rule, event.starts_at),
            covered=covered,
        )
        uncovered -= covered
    elif not event.present and credited > 0:
        taken = moves.debit(ledger, household, DebitReason.ATTENDANCE_CORRECTED, origin, credited)
        uncovered += credited - taken
        credited = 0
    ledger.put_attendance(
        AttendanceRow(
            event.session_id,
            event.person_id,
            household.id,
            event.revision,
            event.present,
            credited,
            uncovered,
        )
    )


def _household(ledger: Ledger, household_id: str) -> HouseholdRow:
    household = ledger.household(household_id)
    if household is None:
        raise NotYet(f"household {household_id}")
    return household


def _expiry(ledger: Ledger, household: HouseholdRow, rule: earning.Rule, at: datetime) -> datetime:
    """When points of that moment are lost: what is heard of late lives as long from now on, so that
    no points come in that are past already."""
    counted_from = max(at, ledger.tx.now)
    return earning.expiry_of(counted_from, rule.valid_days, ledger.zone(household.centre_id))


def _refused(tx: Transaction, household: HouseholdRow, event: PointsPaymentRequested) -> str:
    """Why no points can be set aside, apart from their number; "" when nothing speaks against."""
    if household.erased:
        return "household.unknown"
    if event.points <= 0:
        return "points.none"
    card = _load_cards(tx, [event.card_id]).get(event.card_id)
    if card is None or card[0] != household.id:
        return "card.unknown"
    return "card.blocked" if card[1] is CardState.BLOCKED else ""


def _take_payment(
    ledger: Ledger, household: HouseholdRow, hold: HoldRow | None, event: SaleCompleted
) -> int:
    """End the hold of the sale and take what it cost; gives what was uncovered."""
    other = ledger.open_hold_of(event.sale_id)
    if hold is None or (not hold.open and other is not None):
        hold = other
    if hold is None:
        if event.points <= 0:
            return 0
        hold = HoldRow(
            id=event.payment_id or event.sale_id,
            household_id=household.id,
            sale_id=event.sale_id,
            points=event.points,
            state=HoldState.RELEASED,
            placed_at=ledger.tx.now,
        )
    payer = _household(ledger, hold.household_id)
    return moves.capture(ledger, payer, hold, event.points, event.sale_id)


def _load_cards(tx: Transaction, ids: Iterable[str]) -> dict[str, tuple[str, CardState]]:
    """Whose a card is and whether it opens anything, read once per transaction."""
    known: dict[str, Any] = tx.memo.setdefault(CARDS, {})
    missing = sorted({card_id for card_id in ids if card_id not in known})
    if missing:
        known.update(dict.fromkeys(missing))
        table = store.card
        for card_id, household_id, state in tx.connection.execute(
            sa.select(table.c.id, table.c.household_id, table.c.state).where(
                table.c.id.in_(missing)
            )
        ):
            known[card_id] = (household_id, CardState(state))
    return {card_id: found for card_id, found in known.items() if found is not None}
