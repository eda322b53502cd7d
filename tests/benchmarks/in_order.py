"""Exactly once and in order, or RuntimeError: what was told of facts, held against their log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def effects(log: Iterable[tuple[str, str]], causes: Iterable[str]) -> None:
    """Every fact of the log (its key and its id) is the cause of one effect, and the effects of a
    key have the order of its facts. Across keys every order is right."""
    facts: dict[str, list[str]] = defaultdict(list)
    key_of: dict[str, str] = {}
    for key, fact in log:
        facts[key].append(fact)
        key_of[fact] = key
    found: dict[str, list[str]] = defaultdict(list)
    for cause in causes:
        found[key_of.get(cause, "of no fact")].append(cause)
    for key in {**facts, **found}:
        if found[key] != facts[key]:
            raise RuntimeError(f"{key}: the effects are those of {found[key]}, not {facts[key]}")


def chain(told: Iterable[tuple[str, str, str | None]]) -> int:
    """Every event (key, id, previous) names the one of its key before it. Gives how many."""
    last: dict[str, str] = {}
    count = 0
    for key, event, previous in told:
        if previous != last.get(key):
            raise RuntimeError(f"{key}: {event} names {previous}, and is behind {last.get(key)}")
        last[key] = event
        count += 1
    return count


def balances(told: Iterable[tuple[str, int, int]]) -> None:
    """Every event (household, points, available) leaves what was there before it and its points."""
    has: dict[str, int] = defaultdict(int)
    for household, points, available in told:
        has[household] += points
        if has[household] != available:
            raise RuntimeError(f"{household}: {available} points instead of {has[household]}")
