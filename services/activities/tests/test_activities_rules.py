"""The pure rules: the waiting list, the register, ages and series, and the audit of the order."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from activities.domain import register, sessions, waiting_list
from activities.domain.audit import Stay, passed_over
from activities.domain.register import Mark
from activities.domain.waiting_list import Entry, Policy, State

NOW = datetime(2026, 11, 16, 9, tzinfo=UTC)
ROME = ZoneInfo("Europe/Rome")


def entry(
    number: int, state: State, *, minute: int = 0, priority: int = 0, group: str = ""
) -> Entry:
    at = NOW + timedelta(minutes=minute)
    return Entry(f"s{number:03}", f"p{number}", state, at, priority, group)


@st.composite
def lists(draw: st.DrawFn) -> list[Entry]:
    """Sign-ups in every state; groups wait as a whole."""
    made: list[Entry] = []
    for _ in range(draw(st.integers(0, 8))):
        state = draw(st.sampled_from(State))
        minute, priority = draw(st.integers(0, 3)), draw(st.integers(0, 2))
        size = draw(st.integers(1, 3)) if state is State.WAITING else 1
        group = f"g{len(made)}" if size > 1 else ""
        for _ in range(size):
            made.append(entry(len(made), state, minute=minute, priority=priority, group=group))
    return made


capacities = st.integers(1, 8)
policies = st.sampled_from(Policy)


@given(lists(), capacities, policies)
def test_who_is_due_fits_into_what_is_free(
    entries: list[Entry], capacity: int, policy: Policy
) -> None:
    due = waiting_list.due_for_places(capacity, policy, entries)
    free = max(0, capacity - waiting_list.taken(entries))
    assert len(due) <= free
    assert {one.state for one in due} <= {State.WAITING}
    assert len({one.id for one in due}) == len(due)


@given(lists(), capacities, policies)
def test_groups_are_all_or_none(entries: list[Entry], capacity: int, policy: Policy) -> None:
    due = {one.id for one in waiting_list.due_for_places(capacity, policy, entries)}
    for item in waiting_list.queue(entries):
        assert len({one.id in due for one in item.entries}) == 1


@given(lists(), capacities, policies)
def test_nobody_is_passed_but_a_group_that_does_not_fit_under_the_policy_that_says_so(
    entries: list[Entry], capacity: int, policy: Policy
) -> None:
    due = {one.id for one in waiting_list.due_for_places(capacity, policy, entries)}
    free = max(0, capacity - waiting_list.taken(entries))
    passed: list[int] = []
    for item in waiting_list.queue(entries):
        if item.entries[0].id in due:
            free -= item.size
            assert not passed or policy is Policy.NEXT_WHO_FITS
            assert all(size > free + item.size for size in passed)
        else:
            passed.append(item.size)
    if policy is Policy.NEXT_WHO_FITS:
        assert all(size > free for size in passed), "nobody who fits is left waiting"
    elif passed:
        assert passed[0] > free


@given(lists(), capacities, policies)
def test_after_giving_the_places_the_list_is_settled(
    entries: list[Entry], capacity: int, policy: Policy
) -> None:
    due = {one.id for one in waiting_list.due_for_places(capacity, policy, entries)}
    after = [
        Entry(e.id, e.person_id, State.OFFERED, e.entered_at, e.priority, e.group_id)
        if e.id in due
        else e
        for e in entries
    ]
    assert waiting_list.due_for_places(capacity, policy, after) == []


@given(lists())
def test_positions_count_people_from_one_in_the_order_of_the_list(entries: list[Entry]) -> None:
    places = waiting_list.positions(entries)
    assert sorted(places.values()) == list(range(1, len(places) + 1))
    assert places.keys() == {one.id for one in entries if one.state is State.WAITING}
    alone = sorted(
        (e for e in entries if e.state is State.WAITING and not e.group_id),
        key=lambda e: (-e.priority, e.entered_at, e.id),
    )
    assert [one.id for one in sorted(alone, key=lambda e: places[e.id])] == [e.id for e in alone]


@given(lists(), capacities, policies)
def test_open_places_are_what_a_newcomer_gets(
    entries: list[Entry], capacity: int, policy: Policy
) -> None:
    settled = [
        Entry(e.id, e.person_id, State.OFFERED, e.entered_at, e.priority, e.group_id)
        if e in waiting_list.due_for_places(capacity, policy, entries)
        else e
        for e in entries
        if waiting_list.largest_group([e]) <= capacity
    ]
    waiting = len(waiting_list.positions(settled))
    places = waiting_list.open_places(
        capacity, policy, places_taken=waiting_list.taken(settled), waiting=waiting
    )
    newcomer = entry(999, State.WAITING, minute=60)
    due = waiting_list.due_for_places(capacity, policy, [*settled, newcomer])
    assert (newcomer in due) == (places > 0)


@given(st.integers(0, 1000), st.integers(1, 500))
def test_an_offer_ends_at_its_hold_or_at_the_beginning(begins_in: int, hold: int) -> None:
    starts_at = NOW + timedelta(hours=begins_in)
    answer_by = waiting_list.answer_by(NOW, timedelta(hours=hold), starts_at)
    assert answer_by <= starts_at
    assert answer_by <= NOW + timedelta(hours=hold)
    assert answer_by in (starts_at, NOW + timedelta(hours=hold))


people = st.sampled_from([f"p{n}" for n in range(6)])
marks = st.dictionaries(people, st.builds(Mark, st.booleans(), st.integers(1, 9), st.booleans()))
named = st.dictionaries(people, st.booleans())


@given(st.sets(people), marks, named)
def test_a_register_taken_twice_is_taken_once(
    expected: set[str], before: dict[str, Mark], told: dict[str, bool]
) -> None:
    first = register.take(expected=expected, before=before, named=told)
    again = register.take(expected=expected, before=first.marks, named=told)
    assert again.changed == ()
    assert (again.present, again.absent) == (first.present, first.absent)


@given(st.sets(people), marks, named)
def test_a_mark_gets_a_revision_exactly_when_it_changes(
    expected: set[str], before: dict[str, Mark], told: dict[str, bool]
) -> None:
    taking = register.take(expected=expected, before=before, named=told)
    assert expected <= taking.marks.keys(), "a register is complete"
    for person_id, mark in taking.marks.items():
        assert mark.present == told.get(person_id, False)
        old = before.get(person_id)
        changed = old is None or old.present != mark.present
        assert (person_id in taking.changed) == changed
        assert mark.revision == (old.revision if old else 0) + changed
    assert taking.present == sum(told.values())
    assert taking.absent == sum(1 for p in expected if not told.get(p))


@given(st.dates(date(1930, 1, 1), date(2026, 1, 1)), st.integers(0, 90))
def test_people_grow_older_on_their_birthday(born: date, years: int) -> None:
    try:
        birthday = born.replace(year=born.year + years)
    except ValueError:
        birthday = date(born.year + years, 3, 1)
    assert sessions.age_on(born, birthday) == years
    assert sessions.age_on(born, birthday - timedelta(days=1)) == years - 1


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)), st.integers(1, 52))  # noqa: DTZ001
def test_a_series_is_weekly_on_the_wall(naive: datetime, weeks: int) -> None:
    starts_at = naive.replace(tzinfo=UTC)
    wall = starts_at.astimezone(ROME)
    made = list(sessions.weekly(starts_at, starts_at + timedelta(hours=2), weeks, ROME))
    assert len(made) == weeks
    assert made[0][0] == starts_at or wall.fold == 1
    for week, (begin, _end) in enumerate(made):
        day = begin.astimezone(ROME)
        assert day.date() == wall.date() + timedelta(days=7 * week)
        skipped = day.utcoffset() != (day - timedelta(hours=2)).utcoffset()
        assert day.time() == wall.time() or skipped, "only an hour that does not exist may move"


def test_a_day_begins_and_ends_by_the_wall_clock() -> None:
    begin, end = sessions.day_bounds(date(2026, 10, 25), ROME)  # the clocks go back
    assert (end - begin) == timedelta(hours=25)
    assert sessions.local_day(begin, ROME) == date(2026, 10, 25)
    assert sessions.local_day(begin - timedelta(seconds=1), ROME) == date(2026, 10, 24)


def stay(
    number: int,
    *,
    entered: int,
    placed: int | None = None,
    left: int | None = None,
    waited: bool = True,
    priority: int = 0,
    group: str = "",
) -> Stay:
    at = [None if m is None else NOW + timedelta(minutes=m) for m in (placed, left)]
    return Stay(
        entry(number, State.WAITING, minute=entered, priority=priority, group=group),
        waited=waited,
        waited_until=at[0] or at[1],
        placed_at=at[0],
    )


def test_the_audit_sees_the_known_faults() -> None:
    """The wrong person promoted, and ordering by another time than that of entry."""
    both = list(Policy)
    for policy in both:
        wrong = [stay(1, entered=1), stay(2, entered=2, placed=5)]
        assert list(passed_over(policy, wrong)) == [("s001", "s002")]
        right = [stay(1, entered=1, placed=5), stay(2, entered=2, placed=6)]
        assert list(passed_over(policy, right)) == []
        urgent = [stay(1, entered=1), stay(2, entered=2, placed=5, priority=1)]
        assert list(passed_over(policy, urgent)) == []
        jumped = [stay(1, entered=1), stay(2, entered=2, placed=2, waited=False)]
        assert list(passed_over(policy, jumped)) == [("s001", "s002")]
        gone = [stay(1, entered=1, left=4), stay(2, entered=2, placed=5)]
        assert list(passed_over(policy, gone)) == []
    group = [stay(1, entered=1, group="g"), stay(2, entered=2, placed=5)]
    assert list(passed_over(Policy.KEEP_FOR_GROUP, group)) == [("s001", "s002")]
    assert list(passed_over(Policy.NEXT_WHO_FITS, group)) == [], "not decidable: it may not fit"
