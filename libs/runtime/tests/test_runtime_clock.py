"""Clocks and ids are passed in; a date that cannot be trusted is noticed."""

from __future__ import annotations

import resource
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from runtime.clock import (
    JUMP,
    ClockGuard,
    FixedClock,
    PlayedClock,
    SteadyClock,
    SystemClock,
)
from runtime.ids import SequenceIds, SystemIds, derived, following

START = datetime(2026, 11, 16, 9, tzinfo=UTC)
NO_CONNECTION = cast(sa.Connection, None)


class Machine:
    """A machine with a wall clock that can be set and a monotonic one that cannot."""

    def __init__(self) -> None:
        self.wall = START
        self.ticks = 0.0
        self.meta: dict[str, str] = {}

    def now(self) -> datetime:
        return self.wall

    def passes(self, span: timedelta) -> None:
        self.wall += span
        self.ticks += span.total_seconds()

    def guard(self, clock: Any = None) -> ClockGuard:
        return ClockGuard(
            clock or self,
            read=lambda c, key: self.meta.get(key),
            write=lambda c, key, value: self.meta.__setitem__(key, value),
            monotonic=lambda: self.ticks,
        )


def test_time_that_passes_is_no_jump() -> None:
    machine = Machine()
    guard = machine.guard()
    guard.open(NO_CONNECTION)
    for _ in range(50):
        machine.passes(timedelta(days=1))
        assert not guard.suspicious


@pytest.mark.parametrize("jump", [timedelta(minutes=6), timedelta(minutes=-6), timedelta(days=900)])
def test_a_jump_is_doubted_until_staff_confirm(jump: timedelta) -> None:
    machine = Machine()
    guard = machine.guard()
    machine.wall += jump
    assert guard.suspicious
    assert "jumped" in guard.reason
    machine.passes(timedelta(hours=1))
    assert guard.suspicious, "time alone does not mend a doubt"
    guard.confirm(NO_CONNECTION)
    assert guard.reason == ""
    assert machine.meta[ClockGuard.KEY] == machine.wall.isoformat()


def test_a_confirmation_reaches_every_process_whose_clock_tells_that_time() -> None:
    machine, other = Machine(), Machine()
    other.meta = machine.meta
    here, there, elsewhere = machine.guard(), machine.guard(), other.guard()
    machine.wall += timedelta(hours=3)
    other.wall -= timedelta(hours=3)
    assert here.suspicious
    assert there.suspicious
    assert elsewhere.suspicious
    here.confirm(NO_CONNECTION)
    machine.passes(timedelta(seconds=5))
    other.passes(timedelta(seconds=5))
    there.heed(NO_CONNECTION)
    elsewhere.heed(NO_CONNECTION)
    assert not there.suspicious
    assert elsewhere.suspicious, "its clock tells another time than the one that was confirmed"
    machine.wall += timedelta(hours=1)
    assert there.suspicious
    there.heed(NO_CONNECTION)
    assert there.suspicious, "what was confirmed before the next jump does not mend it"


def test_a_small_correction_is_no_jump() -> None:
    machine = Machine()
    guard = machine.guard()
    machine.wall += timedelta(minutes=4)
    assert not guard.suspicious


@pytest.mark.parametrize(
    ("away", "doubted"),
    [
        (timedelta(minutes=-4), False),
        (timedelta(minutes=-6), True),
        (timedelta(days=29), False),
        (timedelta(days=31), True),
    ],
)
def test_a_start_far_from_the_last_time_seen_is_doubted(away: timedelta, doubted: bool) -> None:
    machine = Machine()
    machine.guard().save(NO_CONNECTION)
    machine.wall += away
    guard = machine.guard()
    guard.open(NO_CONNECTION)
    assert guard.suspicious is doubted


def test_a_clock_before_the_product_existed_is_doubted_even_at_the_first_start() -> None:
    machine = Machine()
    machine.wall = datetime(2000, 1, 1, tzinfo=UTC)
    guard = machine.guard()
    guard.open(NO_CONNECTION)
    assert guard.suspicious


def test_a_doubted_time_is_not_remembered() -> None:
    machine = Machine()
    guard = machine.guard()
    guard.save(NO_CONNECTION)
    machine.wall += timedelta(days=400)
    guard.save(NO_CONNECTION)
    assert machine.meta[ClockGuard.KEY] == START.isoformat()


def test_a_played_day_is_no_jump(tmp_path: Path) -> None:
    machine = Machine()
    played = PlayedClock(tmp_path / "offset", under=machine)
    guard = machine.guard(played)
    played.play(timedelta(days=3))
    assert played.now() == START + timedelta(days=3)
    assert not guard.suspicious


def test_a_played_clock_follows_its_file(tmp_path: Path) -> None:
    machine = Machine()
    file = tmp_path / "offset"
    played = PlayedClock(file, under=machine)
    assert played.now() == START
    file.write_text("3600\n")
    assert played.now() == START + timedelta(hours=1)
    file.write_text("nonsense")
    assert played.now() == START + timedelta(hours=1), "the last offset stays in force"
    machine.passes(timedelta(minutes=5))
    assert played.now() == START + timedelta(hours=1, minutes=5)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert played.now() == START + timedelta(hours=1, minutes=5), "no file can be opened"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    file.unlink()
    assert played.now() == START + timedelta(minutes=5)


def test_a_fixed_clock_moves_when_told() -> None:
    clock = FixedClock(START)
    assert clock.advance(timedelta(minutes=1)) == clock.now() == START + timedelta(minutes=1)
    clock.set(START)
    assert clock.now() == START
    with pytest.raises(ValueError, match="without a zone"):
        clock.set(datetime(2026, 11, 16))  # noqa: DTZ001
    assert SystemClock().now().tzinfo is UTC


@pytest.mark.parametrize("ids", [SystemIds(), SystemIds(FixedClock(START)), SequenceIds()])
def test_ids_are_uuid7_and_sort_as_they_were_made(ids: SystemIds) -> None:
    made = [ids.new() for _ in range(2_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(uuid.UUID(one).version == 7 for one in made)


def test_ids_keep_growing_when_the_clock_goes_back() -> None:
    clock = FixedClock(START)
    ids = SystemIds(clock)
    before = ids.new()
    clock.advance(timedelta(days=-1))
    assert ids.new() > before


def test_sequences_are_the_same_in_every_run() -> None:
    first, second = SequenceIds(), SequenceIds()
    assert [first.new() for _ in range(5)] == [second.new() for _ in range(5)]


def test_a_derived_id_follows_from_its_parts() -> None:
    assert derived("a", "b") == derived("a", "b")
    assert len({derived("a", "b"), derived("b", "a"), derived("ab"), derived("a", "b", "")}) == 4
    assert derived("a") == "6487f73d-91d7-52e7-b68c-26331911655d", "for ever"


def test_what_follows_begins_with_the_time_of_its_cause() -> None:
    cause = "019ad3c5-7c2e-7a31-9d52-0c4f6b1e8a77"
    first = following(cause, "a", "b")
    assert first == following(cause, "a", "b") == "019ad3c5-7c2e-826f-b7ba-030e1017b27e", "for ever"
    assert (uuid.UUID(first).version, uuid.UUID(first).variant) == (8, uuid.RFC_4122)
    later = "019ad3c5-7c2e-7a31-9d52-0c4f6b1e8a78"
    causes = (cause, first, later)
    assert len({following(one, *parts) for one in causes for parts in (("a",), ("b",))}) == 6
    assert all(following(one).startswith("019ad3c5-7c2e-8") for one in causes)


@given(st.lists(st.text(max_size=3), min_size=1, max_size=3))
def test_what_follows_from_many_is_as_different_as_they_are(parts: list[str]) -> None:
    ids = SequenceIds()
    found = [following(ids.new(), *parts) for _ in range(50)]
    assert found == sorted(found)
    assert len(set(found)) == 50
    assert {uuid.UUID(one).version for one in found} == {8}


@pytest.mark.parametrize("cause", ["sale-1", "", "6487f73d-91d7-52e7-b68c-26331911655d"])
def test_without_a_time_it_is_derived(cause: str) -> None:
    assert following(cause, "a") == derived(cause, "a")


def steady(machine: Machine) -> SteadyClock:
    return SteadyClock(machine, monotonic=lambda: machine.ticks)


@pytest.mark.parametrize("back", [timedelta(minutes=6), timedelta(hours=2), timedelta(days=400)])
def test_what_happens_while_the_clock_is_back_is_not_written_into_the_past(back: timedelta) -> None:
    machine = Machine()
    clock = steady(machine)
    machine.passes(timedelta(minutes=10))
    machine.wall -= back
    machine.passes(timedelta(seconds=30))
    right = START + timedelta(minutes=10, seconds=30)
    assert clock.now() == right
    machine.wall += back
    assert clock.now() == right, "right again, and nobody had to do anything"
    machine.passes(timedelta(minutes=1))
    assert clock.now() == machine.wall


def test_a_clock_that_goes_forward_is_followed_and_back_to_what_is_right() -> None:
    machine = Machine()
    clock = steady(machine)
    machine.wall += timedelta(days=50)
    assert clock.now() == START + timedelta(days=50)
    machine.passes(timedelta(minutes=1))
    machine.wall -= timedelta(days=50)
    assert clock.now() == START + timedelta(minutes=1)


def test_staff_may_say_that_it_is_earlier() -> None:
    machine = Machine()
    clock = steady(machine)
    guard = machine.guard(clock)
    machine.wall -= timedelta(days=1)
    assert guard.suspicious
    assert clock.now() == START
    assert guard.shown() == START - timedelta(days=1)
    guard.confirm(NO_CONNECTION)
    assert clock.now() == START - timedelta(days=1)


@pytest.mark.parametrize("year", [2000, 2026])
def test_at_a_start_behind_it_is_as_late_as_the_store_has_seen(year: int) -> None:
    machine = Machine()
    machine.meta[ClockGuard.KEY] = START.isoformat()
    machine.wall = datetime(year, 1, 2, tzinfo=UTC)
    clock = steady(machine)
    guard = machine.guard(PlayedClock(Path("no such file"), under=clock))
    guard.open(NO_CONNECTION)
    machine.passes(timedelta(minutes=3))
    assert clock.now() == START + timedelta(minutes=3)
    machine.wall = START + timedelta(days=2)
    assert clock.now() == machine.wall, "the machine has caught up"


@given(
    st.lists(
        st.tuples(st.integers(0, 100_000), st.integers(-400 * 86_400, 400 * 86_400)), max_size=30
    )
)
def test_it_never_goes_back_by_more_than_a_correction(steps: list[tuple[int, int]]) -> None:
    """Whatever the machine's clock does, what it said while it was believed stays the past."""
    machine = Machine()
    clock = steady(machine)
    true = START
    for passes, jump in steps:
        machine.passes(timedelta(seconds=passes))
        true += timedelta(seconds=passes)
        machine.wall += timedelta(seconds=jump)
        assert clock.now() >= true - len(steps) * JUMP
