"""A figure with its target, and how ratios and percentiles are taken."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Figure:
    """One line of the report. ``turns`` holds that of every turn when it was taken several times;
    their median is the value.

    ``reached`` is None where nothing was asked for, or nothing was there to be measured.
    """

    name: str
    value: float
    unit: str
    target: str = ""
    reached: bool | None = None
    turns: list[float] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As JSON knows it: what is no number is null."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
    return value


def percentile(values: Sequence[float], share: float) -> float:
    """The value below or at which ``share`` of the values lie; the nearest one that was taken."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def left_out(name: str, reason: object) -> Figure:
    """A line that cannot be taken on this machine, and why."""
    return Figure(f"{name}: left out, {reason}", math.nan, "")


def at_most(name: str, value: float, unit: str, limit: float | None, **details: Any) -> Figure:
    """A figure that should be small."""
    if limit is None:
        return Figure(name, value, unit, details=details)
    reached = None if math.isnan(value) else value <= limit
    return Figure(name, value, unit, f"at most {limit:g} {unit}", reached, details=details)


def ratio(name: str, pairs: Sequence[tuple[float, float]], least: float | None) -> Figure:
    """How many times the speed of the baseline (first of each pair) ours (second) has."""
    ratios = [ours / baseline for baseline, ours in pairs]
    middle = statistics.median(ratios)
    return Figure(
        name,
        middle,
        "x",
        f"at least {least:g} x" if least is not None else "",
        middle >= least if least is not None else None,
        ratios,
        {
            "baseline_per_s": [round(b, 1) for b, _ in pairs],
            "ours_per_s": [round(o, 1) for _, o in pairs],
        },
    )


def slower(name: str, pairs: Sequence[tuple[float, float]], most: float | None) -> Figure:
    """How many times as long ours (second of each pair, in seconds) takes as the first."""
    ratios = [ours / baseline for baseline, ours in pairs]
    middle = statistics.median(ratios)
    return Figure(
        name,
        middle,
        "x",
        f"at most {most:g} x" if most is not None else "",
        middle <= most if most is not None else None,
        ratios,
        {
            "baseline_ms": [round(b * 1000, 1) for b, _ in pairs],
            "ours_ms": [round(o * 1000, 1) for _, o in pairs],
        },
    )
