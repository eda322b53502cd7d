"""When a centre is open: hours by day of the week, as people write them and as they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from runtime.refusals import N_, Invalid

Span = tuple[str, str]
"""From and until, ``HH:MM`` of the centre's zone."""

Hours = Mapping[str, Sequence[Span]]
"""By day of the week, ``"0"`` is Monday; a day that is missing is closed."""

DAYS = tuple(str(day) for day in range(7))

_SPAN = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?\s*[-–]\s*(\d{1,2})(?:[:.](\d{2}))?")


def parsed(text: str, field: str = "") -> list[Span]:
    """``9-13, 15:30-18`` as spans; empty: closed. Raises Invalid."""
    found: list[Span] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _SPAN.fullmatch(part)
        span = _span(match) if match else None
        if span is None or (found and span[0] < found[-1][1]):
            raise Invalid(
                "hours.malformed",
                N_("These hours cannot be understood."),
                N_("Write them like 9-13, 15:30-18, one after the other."),
                field=field,
            )
        found.append(span)
    return found


def written(spans: Sequence[Span]) -> str:
    """Spans as they are written: ``09:00-13:00, 15:30-18:00``."""
    return ", ".join(f"{begin}-{end}" for begin, end in spans)


def _span(match: re.Match[str]) -> Span | None:
    begin_hour, begin_minute, end_hour, end_minute = (int(part or 0) for part in match.groups())
    if begin_minute > 59 or end_minute > 59 or end_hour * 60 + end_minute > 24 * 60:
        return None
    begin, end = (
        f"{begin_hour:02}:{begin_minute:02}",
        f"{end_hour:02}:{end_minute:02}",
    )
    return (begin, end) if begin < end else None


@dataclass(frozen=True)
class Opening:
    """How it stands at a moment: open until, or opens today at, or neither ("")."""

    until: str = ""
    opens: str = ""


def opening(hours: Hours, local: datetime) -> Opening:
    """Whether a centre is open at a moment of its own zone."""
    now = f"{local:%H:%M}"
    for begin, end in hours.get(str(local.weekday()), ()):
        if now < begin:
            return Opening(opens=begin)
        if now < end:
            return Opening(until=end)
    return Opening()
