"""A figure as a line, and all of them as ``docs/benchmarks.md``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
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
    before: Mapping[str, str] | None = None,
) -> str:
    """Machine, then for each part how it is taken (`parts_said`), its figures if there are any, and
    what bounds them. A part without results stays as it was `before`."""
    parts = [INTRODUCTION]
    if results:
        newest = max(results.values(), key=lambda result: str(result["taken"]))
        parts.append(_machine(newest["machine"]))
    for letter, said in parts_said.items():
        if letter in results:
            parts.append(_part(said, results[letter]))
        else:
            parts.append((before or {}).get(letter) or _missing(letter, said))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    rows = [f"| {NAMES.get(name, name)} | {value} |" for name, value in machine.items()]
    return "\n".join(["## The machine", "", "| | |", "|---|---|", *rows])


def _missing(letter: str, how: str) -> str:
    title, *rest = how.strip().splitlines()
    lines = [f"## {title.rstrip('.')}", *rest, ""]
    if bounds := BOUNDS.get(letter):
        lines += [f"**What bounds it now.** {bounds}", ""]
    lines.append(f"Not taken for this page yet: `make bench ONLY={letter} WRITE=1`.")
    return "\n".join(lines)


def _part(how: str, result: dict[str, Any]) -> str:
    said = how.strip().splitlines()
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
    lines = [f"## {said[0].rstrip('.')}", "", *said[2:], "", f"{taken}.", ""]
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
    if bounds := BOUNDS.get(str(result["part"])):
        lines += ["", f"**What bounds it now.** {bounds}"]
    return "\n".join(lines)


def _told(value: Any) -> str:
    if isinstance(value, float | None):
        return number(value)
    if isinstance(value, list):
        return ", ".join(_told(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items())
    return str(value)
