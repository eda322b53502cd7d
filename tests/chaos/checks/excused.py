"""What a restore may have forgotten: facts that had not reached the bus, by store and kind.

An excuse covers that something is not there, or not as far as a client was told before the restore;
never that it is there in another way. What a client is told afterwards must stay. Nothing of cards
is excused but points given by hand: all else it decides again from what the others tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from contracts import Event, activities, cards, network, shop
from messaging import Difference


class What(StrEnum):
    """The kinds of facts that may be forgotten."""

    SALE = "sale"
    END_OF_SALE = "end of sale"
    """Its end alone: it waits for points again, and cards says again how it stands."""
    GOODS = "goods"
    """The movements of a sale or a refund."""
    REFUND = "refund"
    SIGN_UP = "sign-up"
    CANCELLATION = "cancellation"
    REGISTER = "register"
    """Of a session."""
    ATTENDANCE = "attendance"
    """A revision of one person in one session."""
    STEP = "step"
    """Of a referral."""
    EVENT = "event"
    """Whatever it was, by its own id: others may have heard it on a bus that was lost since."""


def attendance(session: str, person: str, revision: int) -> str:
    """The subject of `What.ATTENDANCE`."""
    return f"{session}:{person}:{revision}"


def step(referral: str, to: str) -> str:
    """The subject of `What.STEP`."""
    return f"{referral}:{to}"


Body = dict[str, Any]
About = Callable[[Body], Iterable[tuple[What, str]]]


def _sale(body: Body) -> Iterable[tuple[What, str]]:
    """What was asked of cards is known by the request: then the end alone is gone."""
    yield (What.END_OF_SALE if body.get("payment_id") else What.SALE), body["sale_id"]


def _attended(body: Body) -> Iterable[tuple[What, str]]:
    revision = attendance(body["session_id"], body["person_id"], body["revision"])
    return [(What.ATTENDANCE, revision), (What.REGISTER, body["session_id"])]


def _one(what: What, name: str) -> About:
    return lambda body: [(what, body[name])]


def _to(to: str) -> About:
    return lambda body: [(What.STEP, step(body["referral_id"], to))]


ABOUT: dict[type[Event], About] = {
    shop.PointsPaymentRequested: _one(What.SALE, "sale_id"),
    shop.SaleCompleted: _sale,
    shop.SaleCancelled: _one(What.END_OF_SALE, "sale_id"),
    shop.SaleRefunded: _one(What.REFUND, "refund_id"),
    shop.StockMoved: _one(What.GOODS, "origin"),
    activities.SignUpConfirmed: _one(What.SIGN_UP, "signup_id"),
    activities.SignUpWaitlisted: _one(What.SIGN_UP, "signup_id"),
    activities.SignUpCancelled: _one(What.CANCELLATION, "signup_id"),
    activities.AttendanceRecorded: _attended,
    activities.RegisterTaken: _one(What.REGISTER, "session_id"),
    network.ReferralRequested: _to("requested"),
    network.ReferralAccepted: _to("accepted"),
    network.ReferralCompleted: _to("completed"),
}

_ABOUT = {event.ce_type(): about for event, about in ABOUT.items()}


@dataclass
class Excused:
    """Facts that may be gone, each with the moment of the restore that may have forgotten it."""

    facts: dict[tuple[What, str], float] = field(default_factory=dict)
    credits: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    """Points given by hand, by household and number: their events do not say which request."""
    restored: set[str] = field(default_factory=set)
    """Services whose store was put back."""

    def add(self, event_id: str, kind: str, body: Body, at: float) -> None:
        """An event that is gone, and when the store without it was opened (seconds)."""
        self.facts[What.EVENT, event_id] = at
        about = _ABOUT.get(kind)
        if about is not None:
            self.facts.update(dict.fromkeys(about(body), at))
        if kind == cards.PointsCredited.ce_type() and body["reason"] == "adjustment":
            self.credits[body["household_id"], body["points"]].append(at)

    def ever(self, what: What, subject: str) -> bool:
        """Whether it may have been forgotten, however it stands now."""
        return (what, subject) in self.facts

    def of(self, what: What) -> set[str]:
        """All subjects of a kind that may have been forgotten."""
        return {subject for kind, subject in self.facts if kind is what}

    def before(self, what: What, subject: str, told_at: float) -> bool:
        """Whether what a client was told then may have been forgotten since."""
        forgotten_at = self.facts.get((what, subject))
        return forgotten_at is not None and told_at <= forgotten_at

    def difference(self, found: Difference) -> bool:
        """Whether `verify` names goods whose sale or refund may have been forgotten: of one
        transaction, they had reached the bus and it had not."""
        return found.check == "stock.origin" and any(
            self.ever(what, found.subject) for what in (What.SALE, What.REFUND)
        )
