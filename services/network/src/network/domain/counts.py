"""Counts by zone and area with small cells hidden, so that sums do not give them away.

A count below the threshold would point at somebody and is hidden (5 by default, never under 3:
DOMAIN); zero points at nobody. Since rows, columns and the grand total are published as well, more
cells are hidden until no hidden one can be worked out: for each of them, what is published leaves
open at least ``threshold - 1`` different values, as many as the threshold itself leaves open.

A table with its sums is a circulation: row node -> column node for a cell, column -> all rows for a
column's sum, all columns -> row for a row's sum, all rows -> all columns for the grand total. So
the least and the greatest value of a hidden cell, given all that is published, are two maximal
flows over the hidden edges (whole numbers, exact). Whoever reads is supposed to know these rules,
hence that a hidden count is at least one, unless zeros had to be hidden too.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LEAST_THRESHOLD = 3
DEFAULT_THRESHOLD = 5

ALL = ""
"""The row or column of the sums. No zone and no area has an empty name."""

Cell = tuple[str, str]
"""Zone and area; `ALL` in one is a sum, in both the grand total."""


@dataclass(frozen=True)
class Counts:
    """A table for publication. ``cells`` has every zone and area and the sums; None is hidden."""

    zones: tuple[str, ...]
    areas: tuple[str, ...]
    cells: Mapping[Cell, int | None]
    threshold: int

    def at(self, zone: str, area: str) -> int | None:
        return self.cells[zone, area]


@dataclass(frozen=True)
class Bounds:
    """Least and greatest value that what is published leaves open; ``most`` None is no limit."""

    least: int
    most: int | None

    @property
    def values(self) -> int | None:
        """How many values are possible; None is any number."""
        return None if self.most is None else self.most - self.least + 1


def published(counted: Mapping[Cell, int], threshold: int = DEFAULT_THRESHOLD) -> Counts:
    """The table of what was counted by (zone, area), with what must be hidden hidden.

    A threshold under 3 is taken as 3.
    """
    threshold = max(threshold, LEAST_THRESHOLD)
    table = _with_sums(counted)
    hidden = {cell for cell, count in table.items() if 0 < count < threshold}
    to_protect = sorted(hidden)
    while to_protect:  # what is protected stays so: hiding more only leaves more open
        cell = to_protect.pop()
        while not _protected(table, hidden, cell, threshold - 1):
            fresh = _more_to_hide(table, hidden, cell)
            hidden |= fresh
            to_protect.extend(sorted(fresh))
    return Counts(
        zones=tuple(sorted({zone for zone, _ in table} - {ALL})),
        areas=tuple(sorted({area for _, area in table} - {ALL})),
        cells={cell: None if cell in hidden else count for cell, count in table.items()},
        threshold=threshold,
    )


def bounds(table: Mapping[Cell, int], hidden: Iterable[Cell], cell: Cell) -> Bounds:
    """What a reader of the published part can work out about one hidden cell of a full table."""
    network = _Residual(table, frozenset(hidden))
    start, end = _edge(cell)
    more = network.flow(end, start, without=cell)
    value = table[cell]
    floor = 0 if value == 0 else 1
    less = network.flow(start, end, without=cell, most=value - floor)
    assert less is not None
    return Bounds(least=value - less, most=None if more is None else value + more)


def _with_sums(counted: Mapping[Cell, int]) -> dict[Cell, int]:
    zones = sorted({zone for zone, _ in counted})
    areas = sorted({area for _, area in counted})
    table = {(zone, area): counted.get((zone, area), 0) for zone in zones for area in areas}
    for zone in zones:
        table[zone, ALL] = sum(table[zone, area] for area in areas)
    for area in areas:
        table[ALL, area] = sum(table[zone, area] for zone in zones)
    table[ALL, ALL] = sum(table[zone, ALL] for zone in zones)
    return table


def _protected(table: Mapping[Cell, int], hidden: set[Cell], cell: Cell, values: int) -> bool:
    left = bounds(table, hidden, cell).values
    return left is None or left >= values


def _more_to_hide(table: Mapping[Cell, int], hidden: set[Cell], cell: Cell) -> set[Cell]:
    """The cheapest further cells that close a ring with `cell`, so that its value can move.

    When hidden cells alone close a ring already (but too tight a one), the cheapest further cell
    anywhere is hidden: so every step hides something, and with all hidden nothing can be derived.
    """
    start, end = _edge(cell)
    ring = _cheapest_path(table, hidden, start, end, cell)
    if fresh := ring - hidden - {cell}:
        return fresh
    rest = set(table) - hidden
    near = {other for other in rest if other[0] == cell[0] or other[1] == cell[1]}
    return {min(near or rest, key=lambda other: (_cost(table, other), other))}


def _cost(table: Mapping[Cell, int], cell: Cell) -> int:
    """What is lost by hiding a cell: sums are dear, and an empty cell gives no cover."""
    size = len(table) + sum(table.values())
    zone, area = cell
    if table[cell] == 0:
        return size * 2
    if zone == ALL and area == ALL:
        return size * 5
    if ALL in cell:
        return size * 3 + table[cell]
    return 1 + table[cell]


def _cheapest_path(
    table: Mapping[Cell, int], hidden: set[Cell], start: str, end: str, without: Cell
) -> set[Cell]:
    around: dict[str, list[tuple[str, Cell, int]]] = {}
    for cell in table:
        if cell == without:
            continue
        one, other = _edge(cell)
        cost = 0 if cell in hidden else _cost(table, cell)
        around.setdefault(one, []).append((other, cell, cost))
        around.setdefault(other, []).append((one, cell, cost))
    best = {start: 0}
    came: dict[str, tuple[str, Cell]] = {}
    heap = [(0, start)]
    while heap:
        cost, node = heapq.heappop(heap)
        if cost > best[node]:
            continue
        for neighbour, cell, price in around.get(node, ()):
            if (total := cost + price) < best.get(neighbour, total + 1):
                best[neighbour] = total
                came[neighbour] = (node, cell)
                heapq.heappush(heap, (total, neighbour))
    path: set[Cell] = set()
    while end != start:
        end, cell = came[end]
        path.add(cell)
    return path


def _edge(cell: Cell) -> tuple[str, str]:
    """From where to where a cell flows in the circulation. Rows are z:…, columns a:…."""
    zone, area = cell
    if ALL in cell and cell != (ALL, ALL):
        return (f"a:{area}", "z:") if zone == ALL else ("a:", f"z:{zone}")
    return f"z:{zone}", f"a:{area}"


class _Residual:
    """What may still flow over the hidden edges, forth without limit and back by what is there."""

    def __init__(self, table: Mapping[Cell, int], hidden: frozenset[Cell]) -> None:
        self._edges = [
            (*_edge(cell), cell, table[cell] - (0 if table[cell] == 0 else 1)) for cell in hidden
        ]

    def flow(self, start: str, end: str, *, without: Cell, most: int | None = None) -> int | None:
        """The greatest flow, at most `most`; None when it has no limit."""
        room: dict[str, dict[str, int | None]] = {}
        for one, other, cell, back in self._edges:
            if cell != without:
                room.setdefault(one, {})[other] = None
                room.setdefault(other, {})[one] = back
        total = 0
        while most is None or total < most:
            path = _shortest(room, start, end)
            if path is None:
                return total
            limits = [limit for a, b in path if (limit := room[a][b]) is not None]
            if not limits:
                return most
            amount = min(limits)
            for a, b in path:
                forth, back_ = room[a][b], room[b][a]
                room[a][b] = None if forth is None else forth - amount
                room[b][a] = None if back_ is None else back_ + amount
            total += amount
        return most


def _shortest(
    room: Mapping[str, Mapping[str, int | None]], start: str, end: str
) -> list[tuple[str, str]] | None:
    came: dict[str, str] = {start: start}
    queue = deque([start])
    while queue and end not in came:
        node = queue.popleft()
        for neighbour, limit in room.get(node, {}).items():
            if neighbour not in came and (limit is None or limit > 0):
                came[neighbour] = node
                queue.append(neighbour)
    if end not in came:
        return None
    path = []
    while end != start:
        path.append((came[end], end))
        end = came[end]
    return path[::-1]
