"""Counts for publication: what is hidden cannot be worked out from what is shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from network.domain.counts import ALL, Cell, bounds, published
from runtime.testing import examples

ZONES = ("east", "north", "west")
AREAS = ("food", "home", "work")


@st.composite
def counted(draw: st.DrawFn, most: int = 12, zones: int = 3, areas: int = 3) -> dict[Cell, int]:
    rows = ZONES[: draw(st.integers(1, zones))]
    columns = AREAS[: draw(st.integers(1, areas))]
    return {
        (zone, area): count
        for zone in rows
        for area in columns
        if (count := draw(st.integers(0, most)))
    }


def full_table(counts: Mapping[Cell, int]) -> dict[Cell, int]:
    table = dict.fromkeys(
        itertools.product(sorted({z for z, _ in counts}), sorted({a for _, a in counts})), 0
    )
    table |= counts
    sums: dict[Cell, int] = {(ALL, ALL): 0}
    for (zone, area), count in table.items():
        for cell in ((zone, ALL), (ALL, area), (ALL, ALL)):
            sums[cell] = sums.get(cell, 0) + count
    return table | sums


def solutions(
    shown: Mapping[Cell, int | None], most: int, least: int = 1, known: Mapping[Cell, int] = {}
) -> Iterator[dict[Cell, int]]:
    """Every table of whole numbers (hidden ones from `least` to `most`) with the published cells:
    what a patient reader would write down, with nothing of the code under test. Whatever cannot
    reach a published sum any more is not followed."""
    inner = sorted(cell for cell in shown if ALL not in cell)
    lines: dict[Cell, list[Cell]] = {
        (zone, area): [c for c in inner if zone in (ALL, c[0]) and area in (ALL, c[1])]
        for zone, area in shown
        if ALL in (zone, area)
    }
    filled: dict[Cell, int] = {}

    def range_of(cell: Cell) -> tuple[int, int]:
        value = filled.get(cell, known.get(cell, shown[cell]))
        return (least, most) if value is None else (value, value)

    def reachable(cell: Cell) -> bool:
        for line in ((cell[0], ALL), (ALL, cell[1]), (ALL, ALL)):
            wanted = shown[line]
            ranges = [range_of(one) for one in lines[line]]
            if wanted is not None and not (
                sum(low for low, _ in ranges) <= wanted <= sum(high for _, high in ranges)
            ):
                return False
        return True

    def fill(place: int) -> Iterator[dict[Cell, int]]:
        if place == len(inner):
            yield dict(filled)
            return
        cell = inner[place]
        low, high = range_of(cell)
        for value in range(low, high + 1):
            filled[cell] = value
            if reachable(cell):
                yield from fill(place + 1)
        del filled[cell]

    yield from fill(0)


@settings(max_examples=examples(60))
@given(counted(most=6))
@example({("east", "food"): 1, ("east", "home"): 1, ("east", "work"): 9, ("west", "work"): 9})
@example({("east", "food"): 2})
def test_a_patient_reader_finds_another_value_for_every_hidden_count(
    counts: dict[Cell, int],
) -> None:
    shown = published(counts, 3).cells
    hidden = {c for c, v in shown.items() if v is None and ALL not in c}
    least = 1 if all(counts.get(cell) for cell in hidden) else 0
    for cell in hidden:
        true = counts.get(cell, 0)
        others = [value for value in range(true - 3, true + 4) if value >= least and value != true]
        assert any(
            next(solutions(shown, 12, least, {cell: value}), None) is not None for value in others
        ), cell


@settings(max_examples=examples(200))
@given(counted(most=40), st.integers(0, 12))
def test_every_hidden_count_or_sum_stays_as_open_as_the_threshold_leaves_it(
    counts: dict[Cell, int], threshold: int
) -> None:
    result = published(counts, threshold)
    table = full_table(counts)
    hidden = {cell for cell, value in result.cells.items() if value is None}
    for cell in hidden:
        left = bounds(table, hidden, cell)
        assert left.least <= table[cell]
        assert left.most is None or table[cell] <= left.most
        assert left.values is None or left.values >= max(threshold, 3) - 1


@settings(max_examples=examples(200))
@given(counted(most=40), st.integers(0, 12))
def test_what_is_shown_is_true_and_no_small_count_is_shown(
    counts: dict[Cell, int], threshold: int
) -> None:
    result = published(counts, threshold)
    table = full_table(counts)
    assert set(result.cells) == set(table)
    for cell, value in result.cells.items():
        if value is not None:
            assert value == table[cell]
            assert value == 0 or value >= max(threshold, 3)


@settings(max_examples=examples(60))
@given(counted(most=6))
def test_the_bounds_are_those_that_trying_everything_gives(counts: dict[Cell, int]) -> None:
    """The flows against brute force, where everything hidden is held by published sums."""
    table = full_table(counts)
    zones = sorted({zone for zone, _ in counts})[:2]
    hidden = {cell for cell in table if ALL not in cell and table[cell] and cell[0] in zones}
    shown = {cell: None if cell in hidden else value for cell, value in table.items()}
    found = list(solutions(shown, most=20))
    assert found
    for cell in hidden:
        left = bounds(table, hidden, cell)
        assert (left.least, left.most) == (
            min(s[cell] for s in found),
            max(s[cell] for s in found),
        )


def test_large_counts_are_all_shown() -> None:
    counts = {(zone, area): 20 for zone in ZONES for area in AREAS}
    assert None not in published(counts).cells.values()


def test_one_small_count_takes_others_with_it_and_leaves_the_rest() -> None:
    counts = {
        (zone, area): 20 + place
        for place, (zone, area) in enumerate(itertools.product(ZONES, AREAS))
    }
    counts["north", "home"] = 2
    cells = published(counts).cells
    hidden = {cell for cell, value in cells.items() if value is None}
    assert ("north", "home") in hidden
    assert len(hidden) == 4
    assert cells["north", ALL] is not None
    assert cells[ALL, ALL] == sum(counts.values())


@pytest.mark.parametrize("threshold", [-1, 0, 1, 2])
def test_a_threshold_under_three_is_three(threshold: int) -> None:
    result = published({("north", "home"): 2, ("east", "food"): 30}, threshold)
    assert result.threshold == 3
    assert result.at("north", "home") is None


def test_nothing_counted_is_an_empty_table() -> None:
    result = published({})
    assert (result.zones, result.areas) == ((), ())
