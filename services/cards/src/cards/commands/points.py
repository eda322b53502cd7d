"""Points given and taken by hand, and the rules by which they are earned."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cards import moves, store
from cards.commands.reach import centre_of, household_of
from cards.domain.points import NEVER, LedgerAccount
from cards.models import Adjustment, RuleNew
from cards.store.ledger import Ledger
from contracts import cards as facts
from contracts.cards import CreditReason, DebitReason
from messaging import Transaction
from runtime.ids import derived
from runtime.refusals import N_, Invalid, Refusal
from web import answers


def adjust_points(tx: Transaction, household_id: str, asked: Adjustment) -> moves.Standing:
    """Give or take points by hand, with a reason; never more than there are to take.

    Gives what the household has afterwards. The reason stays in the ledger, it is not told. The
    origin is the id of the request: repeated, it is booked once, also by a restored store that has
    forgotten its answer and took the transfer from its event.
    """
    household = household_of(tx, household_id)
    ledger = Ledger.of(tx)
    account = ledger.account(household_id)
    origin, repeated = _origin(tx, household_id, asked)
    if repeated:
        return moves.standing(ledger, household_id)
    if asked.points == 0:
        raise Invalid(
            "points.zero",
            N_("Zero points change nothing."),
            N_("Write how many points are given, or taken with a minus."),
            field="points",
        )
    if asked.points > 0:
        _credit_fits(tx, asked, account.room)
        moves.credit(
            ledger,
            household,
            CreditReason.ADJUSTMENT,
            origin,
            asked.points,
            asked.expires_at or NEVER,
            note=asked.reason,
        )
    else:
        if asked.expires_at is not None:
            raise Invalid(
                "points.expiry_of_debit",
                N_("Points that are taken have no expiry."),
                N_("Leave the expiry empty."),
                field="expires_at",
            )
        available = account.available(tx.now)
        if -asked.points > available:
            raise Refusal(
                "points.too_few",
                N_("There are only {available} points available."),
                N_("Take fewer points; what is in a payment at the till cannot be taken."),
                field="points",
                available=available,
            )
        moves.debit(
            ledger, household, DebitReason.ADJUSTMENT, origin, -asked.points, note=asked.reason
        )
    return moves.standing(ledger, household_id)


def set_earning_rule(tx: Transaction, asked: RuleNew) -> str:
    """From a time on, points are earned like this; gives the id of the rule.

    A rule never changes: a later one with the same beginning takes its place. What was credited
    before stays as it is.
    """
    centre_id = centre_of(tx, asked.centre_id)
    rule_id = tx.ids.new()
    from_time = asked.from_time or tx.now
    tx.connection.execute(
        sa.insert(store.earning_rule).values(
            id=rule_id,
            centre_id=centre_id,
            from_time=from_time,
            per_euro=asked.per_euro,
            per_attendance=asked.per_attendance,
            valid_days=asked.valid_days,
            set_at=tx.now,
        )
    )
    tx.emit(
        facts.EarningRuleSet(
            centre_id=centre_id,
            rule_id=rule_id,
            rule=facts.EarningRule(
                per_euro=asked.per_euro,
                per_attendance=asked.per_attendance,
                valid_days=asked.valid_days,
            ),
            from_time=from_time,
            set_at=tx.now,
        ),
        centre=centre_id,
    )
    return rule_id


def _origin(tx: Transaction, household_id: str, asked: Adjustment) -> tuple[str, bool]:
    """What the transfer is booked under, and whether it is there. A key holds as long as its answer
    is kept: used again later, it is another request."""
    origin = answers.id_of(tx)
    while (there := _booked(tx, origin)) is not None:
        if there.at >= tx.now - answers.KEPT:
            if (there.household_id, there.points) != (household_id, asked.points):
                raise answers.other_content()
            return origin, True
        origin = derived("later", origin)
    return origin, False


def _booked(tx: Transaction, origin: str) -> sa.Row[*tuple[Any, ...]] | None:
    """The household, moment and points of the adjustment with this origin."""
    transfer, entry = store.transfer, store.entry
    causes = (
        moves.credit_cause(CreditReason.ADJUSTMENT, origin),
        moves.debit_cause(DebitReason.ADJUSTMENT, origin),
    )
    return tx.connection.execute(
        sa.select(
            transfer.c.household_id, transfer.c.at, sa.func.sum(entry.c.points).label("points")
        )
        .join(entry, entry.c.transfer_id == transfer.c.id)
        .where(transfer.c.cause.in_(causes), entry.c.account == LedgerAccount.HOUSEHOLD)
        .group_by(transfer.c.id, transfer.c.household_id, transfer.c.at)
    ).one_or_none()


def _credit_fits(tx: Transaction, asked: Adjustment, room: int) -> None:
    if asked.expires_at is not None and asked.expires_at <= tx.now:
        raise Invalid(
            "points.expired_already",
            N_("The expiry must lie in the future."),
            N_("Choose a later day, or leave it empty for points that do not expire."),
            field="expires_at",
        )
    if asked.points > room:
        raise Refusal(
            "points.too_many",
            N_("A household cannot have that many points."),
            N_("Give fewer points."),
            field="points",
        )
