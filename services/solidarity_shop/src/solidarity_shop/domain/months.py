"""Calendar months: a producer invoices by the end of the month after the sale (DOMAIN)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from runtime.refusals import N_, Invalid

_NAME = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, order=True)
class Month:
    """A month of a year, written ``2026-03``."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> Month:
        return cls(day.year, day.month)

    @classmethod
    def named(cls, name: str, *, latest: Month) -> Month:
        """The month of this name, which has begun; raises Invalid("month.unknown")."""
        if found := _NAME.fullmatch(name):
            month = cls(int(found[1]), int(found[2]))
            if month <= latest:
                return month
        raise Invalid(
            "month.unknown",
            N_("Of “{month}” nothing can be shown: it is no month, or has not begun yet."),
            N_("Write the month like {latest}, or leave it out."),
            field="month",
            month=name,
            latest=str(latest),
        )

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def first(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def last(self) -> date:
        return self.after.first - timedelta(days=1)

    @property
    def before(self) -> Month:
        return Month.of(self.first - timedelta(days=1))

    @property
    def after(self) -> Month:
        return Month.of(self.first + timedelta(days=31))

    def bounds(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """When it begins, and when the one after it does, in a zone."""
        begins, ends = (datetime.combine(month.first, time(), zone) for month in (self, self.after))
        return begins, ends
