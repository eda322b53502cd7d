"""Giving the state back to a restored store, from own events that it has forgotten (DESIGN §3.8).

Each function books what its event says, with the same rows as the command or policy that emitted
it; nothing is decided again. What no event tells stays forgotten: the money of a sale (its refund
then goes by the rule of that day), of which sale a refund was, notes of adjustments, and
attendances that earned nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from cards import moves, store
from cards.domain import points as domain
from cards.domain.card import BlockReason, CardState
from cards.domain.points import LedgerAccount, Part, TransferKind
from cards.store import people
from cards.store.ledger import Ledger
from cards.store.rows import AttendanceRow, HoldRow, HoldState, HouseholdRow
from contracts import Event, cards
from contracts import people as people_facts
from contracts.cards import CreditReason, DebitReason, Stage
from messaging import NotYet, Received, Transaction
from messaging.service import Recover
from runtime.store import insert_ignore, upsert

RECOVER: dict[type[Event], Recover] = {}


F = TypeVar("F", bound=Recover)


def _recovers(event: type[Event]) -> Callable[[F], F]:
    def register(function: F) -> F:
        RECOVER[event] = function
        return function

    return register


@_recovers(cards.HouseholdRegistered)
def registered(tx: Transaction, received: Received[cards.HouseholdRegistered]) -> None:
    """The household; its members come back with ``cards.people``."""
    event = received.event
    row = {
        "id": event.household_id,
        "centre_id": event.centre_id,
        "holder_id": event.holder_id,
        "zone": event.zone,
        "registered_at": event.registered_at,
        "changed_at": event.registered_at,
    }
    insert_ignore(tx.connection, store.household, [row])


@_recovers(cards.HouseholdChanged)
def changed(tx: Transaction, received: Received[cards.HouseholdChanged]) -> None:
    """Holder and zone."""
    event = received.event
    _household_is(
        tx,
        event.household_id,
        holder_id=event.holder_id,
        zone=event.zone,
        changed_at=event.changed_at,
    )


@_recovers(cards.HouseholdErased)
def erased(tx: Transaction, received: Received[cards.HouseholdErased]) -> None:
    """Nothing of it is found any more; its people are forgotten one by one."""
    event = received.event
    _household_is(tx, event.household_id, zone="", erased_at=event.erased_at)
    words = store.search_word
    tx.connection.execute(sa.delete(words).where(words.c.household_id == event.household_id))
    tx.connection.execute(
        sa.update(store.transfer)
        .where(store.transfer.c.household_id == event.household_id)
        .values(note="")
    )


@_recovers(people_facts.PersonDescribed)
def described(tx: Transaction, received: Received[people_facts.PersonDescribed]) -> None:
    """A person as the others know them; what is newer, and who is erased, stays."""
    event = received.event
    known = tx.connection.execute(
        sa.select(store.person).where(store.person.c.id == event.person_id)
    ).one_or_none()
    if known is not None and (known.erased_at or known.revision >= event.revision):
        return
    person = people.Person(
        id=event.person_id,
        household_id=event.household_id,
        position=known.position if known else 0,
        given_name=event.given_name,
        family_name=event.family_name,
        birth_date=event.birth_date,
        language=event.language,
        email=event.email,
        phone=event.phone,
        stage=known.stage if known else Stage.WELCOME,
        stage_at=known.stage_at if known else event.described_at,
        revision=event.revision,
    )
    people.write(tx.connection, event.centre_id, [person])


@_recovers(people_facts.PersonErased)
def forgotten(tx: Transaction, received: Received[people_facts.PersonErased]) -> None:
    """A person who asked to be forgotten stays forgotten."""
    people.forget(tx.connection, [received.event.person_id], tx.now)


@_recovers(cards.ConsentGiven)
def consented(tx: Transaction, received: Received[cards.ConsentGiven]) -> None:
    """A consent."""
    event = received.event
    people.give(tx.connection, event.household_id, event.purpose, event.given_at)


@_recovers(cards.ConsentWithdrawn)
def withdrawn(tx: Transaction, received: Received[cards.ConsentWithdrawn]) -> None:
    """The end of a consent."""
    event = received.event
    people.withdraw(tx.connection, event.household_id, event.purpose, event.withdrawn_at)


@_recovers(cards.StageChanged)
def moved_on(tx: Transaction, received: Received[cards.StageChanged]) -> None:
    """Where a person is on the path; a stub when ``cards.people`` has not told of them yet."""
    event = received.event
    stub = {
        "id": event.person_id,
        "household_id": event.household_id,
        "position": 0,
        "given_name": "",
        "family_name": "",
        "language": "",
        "email": "",
        "phone": "",
        "stage": event.stage,
        "stage_at": event.changed_at,
        "revision": 0,
    }
    insert_ignore(tx.connection, store.person, [stub])
    people.set_stage(tx.connection, event.person_id, event.stage, event.changed_at)


@_recovers(cards.CardIssued)
def issued(tx: Transaction, received: Received[cards.CardIssued]) -> None:
    """A card in somebody's pocket opens again."""
    event = received.event
    _card(tx, event.household_id, event.card_id, event)


@_recovers(cards.CardReplaced)
def replaced(tx: Transaction, received: Received[cards.CardReplaced]) -> None:
    """The new card opens, the old one does not."""
    event = received.event
    _card(tx, event.household_id, event.new_card_id, event)
    _block(tx, event.card_id, BlockReason.REPLACED, event.new_card_id)


@_recovers(cards.CardBlocked)
def blocked(tx: Transaction, received: Received[cards.CardBlocked]) -> None:
    """A card that was lost stays blocked."""
    _block(tx, received.event.card_id, received.event.reason, None)


@_recovers(cards.EarningRuleSet)
def rule_set(tx: Transaction, received: Received[cards.EarningRuleSet]) -> None:
    """A rule of earning."""
    event = received.event
    row = {
        "id": event.rule_id,
        "centre_id": event.centre_id,
        "from_time": event.from_time,
        "per_euro": event.rule.per_euro,
        "per_attendance": event.rule.per_attendance,
        "valid_days": event.rule.valid_days,
        "set_at": event.set_at,
    }
    insert_ignore(tx.connection, store.earning_rule, [row])


@_recovers(cards.PointsCredited)
def credited(tx: Transaction, received: Received[cards.PointsCredited]) -> None:
    """Points that came in."""
    event = received.event
    kind, source = moves.CREDITS[event.reason]
    parts = moves.heard(event.buckets)
    cause = moves.credit_cause(event.reason, event.origin)
    entries = domain.incoming(parts, source, covered=event.covered)
    _book(tx, event, kind, cause, event.origin, parts, +1, entries)
    if event.reason is CreditReason.REFUND:
        _refunded(tx, event.household_id, event.origin, event.credited_at)
    if event.reason is CreditReason.ATTENDANCE:
        given = event.points + event.covered
        _attended(tx, event.household_id, event.origin, given, -event.covered)


@_recovers(cards.PointsDebited)
def debited(tx: Transaction, received: Received[cards.PointsDebited]) -> None:
    """Points that were taken back."""
    event = received.event
    kind, target = moves.DEBITS[event.reason]
    parts = moves.heard(event.buckets)
    entries = domain.outgoing(parts, target, uncovered=event.uncovered)
    cause = moves.debit_cause(event.reason, event.origin)
    _book(tx, event, kind, cause, event.origin, parts, -1, entries)
    if event.reason is DebitReason.REFUND:
        _refunded(tx, event.household_id, event.origin, event.debited_at)
    if event.reason is DebitReason.ATTENDANCE_CORRECTED:
        _attended(tx, event.household_id, event.origin, 0, event.uncovered)


@_recovers(cards.PointsExpired)
def expired(tx: Transaction, received: Received[cards.PointsExpired]) -> None:
    """Points that were lost."""
    event = received.event
    parts = moves.heard(event.buckets)
    entries = domain.outgoing(parts, LedgerAccount.EXPIRY)
    cause = f"expiry:{event.transfer_id}"
    _book(tx, event, TransferKind.EXPIRY, cause, "", parts, -1, entries)


@_recovers(cards.HoldPlaced)
def placed(tx: Transaction, received: Received[cards.HoldPlaced]) -> None:
    """Points that wait for the end of a sale."""
    event = received.event
    ledger, household = _ledger(tx, event.household_id, event.hold_id)
    if event.hold_id in ledger.holds:
        return
    parts = moves.heard(event.buckets)
    ledger.put_hold(
        HoldRow(
            id=event.hold_id,
            household_id=event.household_id,
            sale_id=event.sale_id,
            points=event.points,
            state=HoldState.PLACED,
            placed_at=event.placed_at,
            parts=parts,
        )
    )
    ledger.account(household.id).hold_parts(parts)
    ledger.account_changed(household.id)


@_recovers(cards.HoldDeclined)
def declined(tx: Transaction, received: Received[cards.HoldDeclined]) -> None:
    """A payment that was answered with no is not answered again."""
    event = received.event
    ledger = Ledger.of(tx)
    ledger.load(holds=[event.hold_id], households=[event.household_id])
    if event.hold_id not in ledger.holds:
        ledger.put_hold(_ended(event, HoldState.DECLINED, event.declined_at, event.points))


@_recovers(cards.HoldCaptured)
def captured(tx: Transaction, received: Received[cards.HoldCaptured]) -> None:
    """What a sale took, and what its hold freed."""
    event = received.event
    ledger, household = _ledger(tx, event.household_id, event.hold_id)
    points = event.captured + event.uncovered
    hold = ledger.holds.get(event.hold_id) or _ended(
        event, HoldState.RELEASED, event.captured_at, points
    )
    if hold.state is HoldState.CAPTURED:
        return
    account = ledger.account(household.id)
    if hold.open:
        account.release(hold.parts)
    parts = moves.heard(event.buckets)
    account.apply(parts, -1)
    ledger.post(
        household,
        TransferKind.REDEMPTION,
        f"capture:{hold.id}",
        event.sale_id,
        domain.outgoing(parts, LedgerAccount.REDEMPTION, uncovered=event.uncovered),
    )
    hold.state, hold.ended_at = HoldState.CAPTURED, event.captured_at
    hold.captured, hold.uncovered = event.captured, event.uncovered
    ledger.put_hold(hold)


@_recovers(cards.HoldReleased)
def released(tx: Transaction, received: Received[cards.HoldReleased]) -> None:
    """Points that were freed."""
    event = received.event
    ledger, household = _ledger(tx, event.household_id, event.hold_id)
    hold = ledger.holds.get(event.hold_id)
    if hold is None or not hold.open:
        return
    ledger.account(household.id).release(hold.parts)
    hold.state = HoldState.TIMED_OUT if event.timed_out else HoldState.RELEASED
    hold.ended_at = event.released_at
    ledger.put_hold(hold)
    ledger.account_changed(household.id)


def _ledger(tx: Transaction, household_id: str, hold_id: str = "") -> tuple[Ledger, HouseholdRow]:
    ledger = Ledger.of(tx)
    ledger.load(households=[household_id], holds=[hold_id])
    household = ledger.household(household_id)
    if household is None:
        raise NotYet(f"household {household_id}")
    return ledger, household


def _book(
    tx: Transaction,
    event: cards.PointsCredited | cards.PointsDebited | cards.PointsExpired,
    kind: TransferKind,
    cause: str,
    origin: str,
    parts: Sequence[Part],
    sign: int,
    entries: Sequence[domain.Entry],
) -> None:
    ledger, household = _ledger(tx, event.household_id)
    known = tx.connection.scalar(sa.select(sa.exists().where(store.transfer.c.cause == cause)))
    if known:
        return
    ledger.account(household.id).apply(parts, sign)
    ledger.post(household, kind, cause, origin, entries, transfer_id=event.transfer_id)


def _refunded(tx: Transaction, household_id: str, refund_id: str, at: datetime) -> None:
    """It was booked: it does not count again when the shop tells it in another guise."""
    row = {"id": refund_id, "sale_id": "", "household_id": household_id, "at": at}
    insert_ignore(tx.connection, store.refund, [row])


def _attended(
    tx: Transaction, household_id: str, origin: str, credited: int, uncovered: int
) -> None:
    """What stands credited after a revision, and how what could not be taken back changed by it."""
    session_id, person_id, revision = origin.rsplit(":", 2)
    ledger = Ledger.of(tx)
    ledger.load(attendances=[(session_id, person_id)])
    before = ledger.attendances.get((session_id, person_id))
    if before is None or before.revision < int(revision):
        ledger.put_attendance(
            AttendanceRow(
                session_id,
                person_id,
                household_id,
                int(revision),
                credited > 0,
                credited,
                uncovered + (before.uncovered if before else 0),
            )
        )


def _ended(
    event: cards.HoldDeclined | cards.HoldCaptured, state: HoldState, at: Any, points: int
) -> HoldRow:
    return HoldRow(
        id=event.hold_id,
        household_id=event.household_id,
        sale_id=event.sale_id,
        points=points,
        state=state,
        placed_at=at,
        ended_at=at,
        reason=getattr(event, "reason", ""),
    )


def _household_is(tx: Transaction, household_id: str, **values: Any) -> None:
    tx.connection.execute(
        sa.update(store.household).where(store.household.c.id == household_id).values(**values)
    )


def _card(
    tx: Transaction, household_id: str, card_id: str, event: cards.CardIssued | cards.CardReplaced
) -> None:
    row = {
        "id": card_id,
        "household_id": household_id,
        "number": event.number,
        "token_digest": event.token_digest,
        "state": CardState.ACTIVE,
        "issued_at": tx.now,
        "block_reason": "",
    }
    insert_ignore(tx.connection, store.card, [row])
    _, household = _ledger(tx, household_id)
    word = {
        "centre_id": household.centre_id,
        "word": event.number,
        "household_id": household_id,
        "source_id": card_id,
    }
    upsert(
        tx.connection,
        store.search_word,
        [word],
        key=("centre_id", "word", "household_id", "source_id"),
    )


def _block(tx: Transaction, card_id: str, reason: str, replaced_by: str | None) -> None:
    tx.connection.execute(
        sa.update(store.card)
        .where(store.card.c.id == card_id)
        .values(
            state=CardState.BLOCKED,
            blocked_at=tx.now,
            block_reason=reason[:20],
            replaced_by=replaced_by,
        )
    )
