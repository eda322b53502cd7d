"""Reads what pip-audit found: `vulnerabilities.py FOUND.json SAID.txt CODE`.

Ends with 0 when every package was looked at and none is known to be unsafe, with 1 when one is,
with 15 when packages could not be looked at, and with 16 when all that is wrong is that something
is older than `promises.toml` allows. A hole that is left there, with an end, is told until then.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

UNSAFE = 1
NOT_ASKED = 15
LATE = 16

PROMISES = Path(__file__).with_name("promises.toml")
KINDS = ("grave", "other", "unmended")


@dataclass(frozen=True)
class Left:
    """A known hole that stays until a day, and why."""

    advisory: str
    package: str
    kind: str
    since: date
    until: date
    why: str


@dataclass(frozen=True)
class Promises:
    """How soon what is replaced, in days, when it was done last, and what is left for now."""

    days: dict[str, int]
    update: date
    look: date | None
    left: tuple[Left, ...] = ()

    def late(self, today: date) -> list[str]:
        """What is older than promised."""
        found = [
            f"{what} was {day}, {(today - day).days} days ago: {self.days[every]} at most are "
            "promised (docs/security.md)."
            for what, day, every in (
                ("The last time that everything was brought up to date", self.update, "updates"),
                ("The last look at known holes", self.look, "looks"),
            )
            if day is not None and today - day > timedelta(days=self.days[every])
        ]
        if self.look is None:
            found.append("No look at known holes is written down in deploy/audit/promises.toml.")
        return found

    def faults(self, locked: frozenset[str], newest: date) -> list[str]:
        """What of it cannot be: ``locked`` are the packages of the lock, ``newest`` the day of the
        newest file in it."""
        found = [
            f"{one.advisory}: {fault}"
            for one in self.left
            for fault, wrong in (
                ("no such kind", one.kind not in KINDS),
                ("it is not in the lock", one.package not in locked),
                ("no reason", not one.why.strip()),
                (
                    f"left longer than {self.days.get(one.kind)} days",
                    one.kind in KINDS
                    and not timedelta(0)
                    < one.until - one.since
                    <= timedelta(days=self.days[one.kind]),
                ),
            )
            if wrong
        ]
        if self.update - newest > timedelta(days=NEWS):
            found.append(f"brought up to date on {self.update}, with nothing newer than {newest}")
        return found


NEWS = 14
"""Days within which some of all packages has always had a new version."""


def promises(path: Path = PROMISES) -> Promises:
    """What is promised."""
    read = tomllib.loads(path.read_text(encoding="utf-8"))
    left = tuple(Left(**one) for one in read.get("left", []))
    return Promises(read["days"], read["last"]["update"], read["last"].get("look"), left)


def read(path: Path) -> list[dict[str, Any]]:
    """The packages in pip-audit's answer; none where it gave no answer."""
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError):
        return []
    return found


def judge(
    found: list[dict[str, Any]], said: str, code: int, today: date, left: Sequence[Left] = ()
) -> tuple[int, list[str]]:
    """The code to end with, and what to say."""
    until = {(one.package, one.advisory): one.until for one in left}
    skipped = [one for one in found if "skip_reason" in one]
    unsafe, lines = False, []
    for one in found:
        for fault in one.get("vulns", ()):
            names = (fault["id"], *fault.get("aliases", ()))
            end = max(
                (until[one["name"], n] for n in names if (one["name"], n) in until), default=None
            )
            unsafe |= end is None or end < today
            lines.append(
                f"{one['name']} {one['version']}: {fault['id']}, mended in "
                f"{', '.join(fault['fix_versions']) or 'no version yet'}"
                + (f", left until {end}" if end is not None else "")
            )
    if unsafe:
        return UNSAFE, lines
    if not found:
        why = said.strip().splitlines()[-1] if said.strip() else f"pip-audit ended with {code}"
        return NOT_ASKED, [f"The service of known vulnerabilities could not be asked: {why}"]
    if skipped:
        return NOT_ASKED, [
            f"The service of known vulnerabilities knows nothing of {len(skipped)} of the "
            f"{len(found)} locked packages: they were not looked at."
        ]
    if lines:
        return 0, [*lines, f"{len(found)} locked packages; what is known to be unsafe has an end."]
    return 0, [f"{len(found)} locked packages, none known to be unsafe."]


def main(arguments: list[str]) -> int:
    found, said, code = arguments
    text = Path(said).read_text(encoding="utf-8") if Path(said).exists() else ""
    today, promised = datetime.now(UTC).date(), promises()
    ending, lines = judge(read(Path(found)), text, int(code), today, promised.left)
    print("\n".join(lines), file=sys.stderr if ending else sys.stdout)
    if ending != NOT_ASKED and today != promised.look:
        print(f"Write it down: look = {today} in deploy/audit/promises.toml.")
        promised = Promises(promised.days, promised.update, today, promised.left)
    late = promised.late(today)
    print("\n".join(late), end="\n" if late else "", file=sys.stderr)
    return ending or (LATE if late else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
