"""How points are earned: dated rules of a centre, never constants (DOMAIN)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DEFAULT_VALID_DAYS = 365
"""How long points live that a centre gives back without having a rule (as in the contract)."""

DEFAULT_ZONE = "Europe/Rome"
"""The zone of a centre that has not said another (as in ``identity.centre.opened``)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """From ``from_time`` on: points for each whole euro of money and for each attendance."""

    from_time: datetime
    rule_id: str
    per_euro: int
    per_attendance: int
    valid_days: int


NO_RULE = Rule(datetime.min.replace(tzinfo=UTC), "", 0, 0, DEFAULT_VALID_DAYS)
"""Without a rule nothing is earned."""


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Rules as they begin; of two that begin together the later made one comes last."""
    return sorted(rules, key=lambda rule: (rule.from_time, rule.rule_id))


def rule_at(rules: Sequence[Rule], moment: datetime) -> Rule:
    """The last of these rules, in their order, that had begun by then."""
    for rule in reversed(rules):
        if rule.from_time <= moment:
            return rule
    return NO_RULE


def earned_by_money(money_cents: int, per_euro: int) -> int:
    """Points for each WHOLE euro of money paid; nothing for less, nothing below zero."""
    return max(0, money_cents) // 100 * per_euro


def lost_by_refund(money_cents: int, refunded_before: int, refund_cents: int, per_euro: int) -> int:
    """What a refund takes back of a sale's earned points.

    Counted on the money that stays paid, so that several small refunds take back exactly what one
    large one would.
    """
    before = earned_by_money(money_cents - refunded_before, per_euro)
    return before - earned_by_money(money_cents - refunded_before - refund_cents, per_euro)


def expiry_of(moment: datetime, valid_days: int, zone: ZoneInfo) -> datetime:
    """The end of the centre's day, ``valid_days`` after ``moment``, in UTC: one bucket a day."""
    return _end_of(moment.astimezone(zone).date() + timedelta(days=valid_days), zone)


@lru_cache(maxsize=64)
def _end_of(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC)


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name; the default one when it is not known on this machine."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(DEFAULT_ZONE)
