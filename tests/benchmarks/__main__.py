"""``python -m benchmarks``: runs parts, keeps their figures as JSON, writes the page."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import machine, report
from benchmarks.figures import Figure
from benchmarks.place import FOLDER, Place
from runtime import logging
from web import serve

PARTS = {
    "a": "visible",
    "b": "applied",
    "c": "relayed",
    "d": "sold",
    "e": "memory",
    "f": "rebuilt",
    "g": "replicas",
    "h": "later",
    "i": "pages",
    "j": "felt",
}
PAGE = Path("docs/benchmarks.md")
PART_WITHIN = float(os.environ.get("BENCH_WITHIN", "900"))
"""Seconds; a part that takes longer is broken off with what it has."""


def main(arguments: list[str] | None = None) -> int:
    """0 when every part ran, 1 when one broke, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help="letters of parts, with commas: a,c")
    parser.add_argument("--scale", default="", help="of sizes; 1 is the full size")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md from it")
    parser.add_argument("--rounds", default="3", help="pairs of each ratio")
    given = parser.parse_args(arguments)
    if not given.rounds.isdigit() or not 1 <= int(given.rounds) <= 20:
        parser.error(f"ROUNDS must be a number from 1 to 20, not {given.rounds!r}")
    wanted = [letter.strip() for letter in given.only.split(",") if letter.strip()] or list(PARTS)
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    try:
        scale = float(given.scale) if given.scale else None
    except ValueError:
        parser.error(f"SCALE must be a number above 0, not {given.scale!r}")
    if scale is not None and not 0 < scale <= 10:
        parser.error(f"SCALE must be a number above 0 and at most 10, not {given.scale!r}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if (kind := machine.file_system(FOLDER)) in machine.IN_MEMORY:
        parser.error(f"{FOLDER} lies in memory ({kind}), and the figures are those of a disk")
    logging.configure("benchmarks", level="CRITICAL", stream=sys.stderr)
    sys.setswitchinterval(serve.SWITCH)  # as services have it, for what runs in this process
    broken = [letter for letter in wanted if not _part(letter, scale, int(given.rounds))]
    if given.write:
        before = PAGE.read_text("utf-8") if PAGE.exists() else ""
        PAGE.write_text(report.page(_known(), said(), before), encoding="utf-8")
        sys.stdout.write(f"{PAGE} is written.\n")
    return 1 if broken else 0


def said() -> dict[str, str]:
    """How each part is taken, in its own words."""
    return {letter: _module(letter).__doc__ or "" for letter in PARTS}


def _part(letter: str, scale: float | None, rounds: int) -> bool:
    module = _module(letter)
    title = (module.__doc__ or "").strip().splitlines()[0]
    sys.stdout.write(f"{title}\n")
    sys.stdout.flush()
    begun, stolen, load = time.monotonic(), machine.steal(), os.getloadavg()[0]
    broke = ""
    figures: list[Figure] = []
    with Place(scale, rounds) as place:
        try:
            limit = _limit(module, scale)
            figures = asyncio.run(asyncio.wait_for(module.run(place), limit))
        except Exception as error:
            broke = f"{type(error).__name__}: {error}"
            sys.stderr.write(f"Part {letter} broke off: {broke}\n")
            if os.environ.get("BENCH_TRACE"):
                raise
            figures = place.figures
    if place.missing and all(figure.name != place.missing for figure in figures):
        figures.append(Figure(place.missing, float("nan"), ""))
    for figure in figures:
        sys.stdout.write(f"  {report.line(figure)}\n")
    sys.stdout.flush()
    result: dict[str, Any] = {
        "part": letter,
        "taken": datetime.now(UTC).isoformat(timespec="minutes"),
        "seconds": round(time.monotonic() - begun, 1),
        "load_before": round(load, 1),
        "stolen_s": round(machine.steal() - stolen, 1),
        "scale": scale,
        "machine": machine.described(FOLDER),
        "broke_off": bool(broke),
        "figures": [figure.as_json() for figure in figures],
    }
    if figures:
        told = json.dumps(result, indent=1, allow_nan=False)
        (FOLDER / f"{letter}.json").write_text(told, encoding="utf-8")
    return not broke


def _module(letter: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{PARTS[letter]}")


def _limit(module: ModuleType, scale: float | None) -> float:
    """Seconds that a part may take; one that fills large stores says itself how long."""
    return max(PART_WITHIN, getattr(module, "PART_WITHIN", 0.0)) * max(1.0, scale or 1.0)


def _known() -> dict[str, dict[str, Any]]:
    return {
        letter: json.loads((FOLDER / f"{letter}.json").read_text("utf-8"))
        for letter in PARTS
        if (FOLDER / f"{letter}.json").exists()
    }


if __name__ == "__main__":
    sys.exit(main())
