"""Opening hours, as people write them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.domain import hours
from identity.domain.hours import Opening
from runtime.refusals import Invalid

WEEK = {"0": [("09:00", "13:00"), ("15:30", "18:00")]}


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("9-13", [("09:00", "13:00")]),
        (" 9.30 – 13 ,15:30-24 ", [("09:30", "13:00"), ("15:30", "24:00")]),
    ],
)
def test_hours_are_read(text: str, spans: list[tuple[str, str]]) -> None:
    assert hours.parsed(text) == spans


@pytest.mark.parametrize(
    "text", ["nine", "9", "13-9", "9-9", "9-25", "9:60-10", "9-13, 12-15", "9-13;15-18", "-1-5"]
)
def test_what_is_no_span_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        hours.parsed(text, "day_3")
    assert refused.value.field == "day_3"


@given(st.text(max_size=40))
def test_whatever_is_typed_is_read_again_as_it_was_written(text: str) -> None:
    try:
        spans = hours.parsed(text)
    except Invalid:
        return
    assert hours.parsed(hours.written(spans)) == spans


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-16T08:59", Opening(opens="09:00")),
        ("2026-11-16T09:00", Opening(until="13:00")),
        ("2026-11-16T13:00", Opening(opens="15:30")),
        ("2026-11-16T18:00", Opening()),
        ("2026-11-17T10:00", Opening()),
    ],
)
def test_it_is_open_from_the_first_minute_to_before_the_last(at: str, expected: Opening) -> None:
    assert hours.opening(WEEK, datetime.fromisoformat(at)) == expected
