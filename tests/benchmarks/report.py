"""A figure as a line, and all of them as ``docs/benchmarks.md``."""

from __future__ import annotations

import math
import re
from typing import Any

from benchmarks.figures import Figure
from benchmarks.words import BOUNDS, INTRODUCTION

NAMES = {
    "processor": "processor",
    "cores": "cores",
    "memory_gb": "memory (GB)",
    "file_system": "file system of the stores",
    "fsync_ms_p50": "`fdatasync` of a page, p50 (ms)",
    "fsync_ms_p99": "`fdatasync` of a page, p99 (ms)",
    "kernel": "Linux",
    "python": "Python",
    "sqlite": "SQLite",
}

SAID = {True: ": reached", False: ": NOT REACHED", None: ""}


def line(figure: Figure) -> str:
    """One figure for the terminal."""
    words = f"{figure.name}: {number(figure.value)} {figure.unit}"
    if figure.turns:
        words += f" ({number(min(figure.turns))} to {number(max(figure.turns))})"
    if figure.target:
        words += f"; {figure.target}{SAID[figure.reached]}"
    for name, value in figure.details.items():
        words += f"\n      {name}: {_told(value)}"
    return words


def number(value: float | None) -> str:
    """Three digits that count; JSON has null for what is no number."""
    if value is None or math.isnan(value):
        return "none"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def standing(page: str) -> dict[str, str]:
    """The parts of a page that was written before, by their letters."""
    sections = re.split(r"(?m)^(?=## )", page)
    found = ((re.match(r"## \((\w)\)", section), section) for section in sections)
    return {match[1]: section for match, section in found if match}


def page(
    results: dict[str, dict[str, Any]],
    parts_said: dict[str, str],
    before: str = "",
) -> str:
    """Machine, then for each part how it is taken (`parts_said`), its figures if there are any, and
    what bounds them. A part without results has the figures that it had on the page `before`, and
    so has the machine when nothing was taken."""
    parts, there = [INTRODUCTION], standing(before)
    if results:
        newest = max(results.values(), key=lambda result: str(result["taken"]))
        parts.append(_machine(newest["machine"]))
    elif machine := _MACHINE.search(before):
        parts.append(machine[0])
    for letter, said in parts_said.items():
        taken = _FIGURES.search(there.get(letter, ""))
        if letter in results:
            parts.append(_part(said, results[letter]))
        elif taken:
            parts.append("\n".join([*_how(said), taken[0].strip(), *_bounds(letter)]))
        else:
            parts.append(_missing(letter, said))
    return "\n\n".join(part.strip() for part in parts) + "\n"


_MACHINE = re.compile(r"(?ms)^## The machine$.*?(?=^## )")
_FIGURES = re.compile(r"(?ms)^Taken .*?(?=^\*\*What bounds|\Z)")


def _how(said: str) -> list[str]:
    title, _, *rest = said.strip().splitlines()
    return [f"## {title.rstrip('.')}", "", *rest, ""]


def _bounds(letter: str) -> list[str]:
    return ["", f"**What bounds it now.** {BOUNDS[letter]}"] if letter in BOUNDS else []


def _machine(machine: dict[str, Any]) -> str:
    rows = [f"| {NAMES.get(name, name)} | {value} |" for name, value in machine.items()]
    return "\n".join(["## The machine", "", "| | |", "|---|---|", *rows])


def _missing(letter: str, how: str) -> str:
    missing = f"Not taken for this page yet: `make bench ONLY={letter} WRITE=1`."
    return "\n".join([*_how(how), missing, *_bounds(letter)])


def _part(how: str, result: dict[str, Any]) -> str:
    scale = result["scale"]
    taken = f"Taken {result['taken'].replace('+00:00', 'Z')} in {result['seconds']:.0f} s"
    if scale is not None:
        taken += f", at {scale:g} times the usual size"
    cores = result["machine"]["cores"]
    if result["load_before"] > cores / 2:
        taken += (
            f", on a machine that was busy with other things (load {result['load_before']:g} on"
            f" {cores} cores before it began): times say little then, ratios something"
        )
    if result["stolen_s"] >= 1:
        taken += f"; meanwhile the host gave {result['stolen_s']:.0f} s of processor to others"
    if result["broke_off"]:
        taken += ". It broke off: lines are missing"
    lines = [*_how(how), f"{taken}.", ""]
    lines += ["| figure | median | smallest to largest | target | |", "|---|---|---|---|---|"]
    for one in result["figures"]:
        turns = one["turns"]
        spread = f"{number(min(turns))} to {number(max(turns))}" if turns else ""
        reached = {True: "reached", False: "**not reached**", None: ""}[one["reached"]]
        lines.append(
            f"| {one['name']} | {number(one['value'])} {one['unit']} | {spread} "
            f"| {one['target']} | {reached} |"
        )
    details = [one for one in result["figures"] if one["details"]]
    if details:
        lines.append("")
        for one in details:
            told = "; ".join(f"{k} {_told(v)}" for k, v in one["details"].items())
            lines.append(f"- {one['name']}: {told}")
    return "\n".join([*lines, *_bounds(str(result["part"]))])


def _told(value: Any) -> str:
    if isinstance(value, float | None):
        return number(value)
    if isinstance(value, list):
        return ", ".join(_told(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items())
    return str(value)
