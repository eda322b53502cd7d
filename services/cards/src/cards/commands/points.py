"""Points given and taken by hand, and the rules by which they are earned."""

from __future__ import annotations

import sqlalchemy as sa

from cards import moves, store
from cards.commands.reach import centre_of, household_of
from cards.domain.points import NEVER
from cards.models import Adjustment, RuleNew
from cards.store.ledger import Ledger
from contracts import cards as facts
from contracts.cards import CreditReason, DebitReason
from messaging import Transaction
from runtime.refusals import N_, Invalid, Refusal


def adjust_points(tx: Transaction, household_id: str, asked: Adjustment) -> moves.Standing:
    """Give or take points by hand, with a reason; never more than there are to take.

    Gives what the household has afterwards. The reason stays in the ledger, it is not told.
    """
    household = household_of(tx, household_id)
    ledger = Ledger.of(tx)
    account = ledger.account(household_id)
    origin = tx.ids.new()
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
