"""A bench with the cards service, and short words for what happens around a household."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from cards import commands, queries
from cards.app import SERVICE
from cards.domain.card import digest_of, new_token
from cards.models import Adjustment, HouseholdNew, Member, RuleNew
from contracts.activities import AttendanceRecorded
from contracts.shop import PointsPaymentRequested, SaleCancelled, SaleCompleted, SaleRefunded
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import store_of

CENTRE = "centre-1"


@dataclass
class House:
    """A household on the bench, with a card and what the shop may tell of it."""

    bench: Bench
    id: str
    card_id: str
    person_id: str
    centre: str = CENTRE

    @property
    def now(self) -> datetime:
        return self.bench.clock.now()

    def give(self, points: int, expires_at: datetime | None = None) -> None:
        asked = Adjustment(points=points, reason="for the test", expires_at=expires_at)
        self.bench.run(lambda tx: commands.adjust_points(tx, self.id, asked), centre=self.centre)

    @property
    def points(self) -> tuple[int, int]:
        """What is available and what is held."""
        seen = self.bench.read(lambda c: queries.points(c, self.id, self.now))
        return seen.available, seen.held

    def asks(self, points: int, sale: str = "sale-1", payment: str = "") -> PointsPaymentRequested:
        return PointsPaymentRequested(
            sale_id=sale,
            payment_id=payment or f"payment-of-{sale}",
            household_id=self.id,
            card_id=self.card_id,
            points=points,
            requested_at=self.now,
        )

    def buys(
        self, money: int = 0, points: int = 0, sale: str = "sale-1", **more: Any
    ) -> SaleCompleted:
        values = {
            "sale_id": sale,
            "centre_id": self.centre,
            "till_id": "till-1",
            "household_id": self.id,
            "card_id": self.card_id,
            "payment_id": f"payment-of-{sale}" if points else "",
            "total_cents": money + points * 10,
            "money_cents": money,
            "points": points,
            "lines": (),
            "sold_at": self.now,
        }
        return SaleCompleted(**(values | more))

    def cancels(self, sale: str = "sale-1", **more: Any) -> SaleCancelled:
        values = {
            "sale_id": sale,
            "centre_id": self.centre,
            "till_id": "till-1",
            "household_id": self.id,
            "payment_id": f"payment-of-{sale}",
            "reason": "by_till",
            "cancelled_at": self.now,
        }
        return SaleCancelled(**(values | more))

    def returns(
        self,
        money: int = 0,
        points: int = 0,
        sale: str = "sale-1",
        refund: str = "refund-1",
        **more: Any,
    ) -> SaleRefunded:
        values = {
            "sale_id": sale,
            "refund_id": refund,
            "centre_id": self.centre,
            "till_id": "till-1",
            "household_id": self.id,
            "total_cents": money + points * 10,
            "money_cents": money,
            "points": points,
            "lines": (),
            "refunded_at": self.now,
        }
        return SaleRefunded(**(values | more))

    def attends(
        self, present: bool = True, revision: int = 1, session: str = "session-1"
    ) -> AttendanceRecorded:
        return AttendanceRecorded(
            session_id=session,
            activity_id="activity-1",
            centre_id=self.centre,
            person_id=self.person_id,
            household_id=self.id,
            present=present,
            revision=revision,
            title="Spazio compiti",
            starts_at=self.now,
            recorded_at=self.now,
        )


class CardsBench(Bench):
    """The bench, with households to try."""

    def household(self, *names: str, centre: str = CENTRE, **more: Any) -> House:
        members = [
            Member(given_name=name, family_name="Rossi") for name in names or ("Amina", "Luca")
        ]
        new = HouseholdNew(members=members, zone="via Satta", **more)
        household_id = self.run(lambda tx: commands.register_household(tx, new), centre=centre)
        digest = digest_of(new_token())
        assert digest is not None
        card = self.run(lambda tx: commands.issue_card(tx, household_id, digest), centre=centre)
        seen = self.read(lambda c: queries.household(c, household_id))
        assert seen is not None
        return House(self, household_id, card.id, seen.members[0].id, centre)

    def rule(self, centre: str = CENTRE, **values: Any) -> None:
        asked = RuleNew(**values)
        self.run(lambda tx: commands.set_earning_rule(tx, asked), centre=centre)

    def holds_together(self) -> None:
        """Every check of the service finds nothing, and nothing was set aside."""
        for check in SERVICE.checks:
            found = self.read(lambda c, check=check: list(check.run(c)))
            assert not found, "\n".join(map(str, found))
        assert self.set_aside() == []


store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[CardsBench]:
    """A bench on each engine; at its end everything must hold together."""
    with CardsBench(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made
        made.holds_together()
