"""Reads what pip-audit found: `vulnerabilities.py FOUND.json SAID.txt CODE`.

Ends with 0 when every package was looked at and none is known to be unsafe, with 1 when one is, and
with 15 when packages could not be looked at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

UNSAFE = 1
NOT_ASKED = 15


def read(path: Path) -> list[dict[str, Any]]:
    """The packages in pip-audit's answer; none where it gave no answer."""
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError):
        return []
    return found


def judge(found: list[dict[str, Any]], said: str, code: int) -> tuple[int, list[str]]:
    """The code to end with, and what to say."""
    unsafe = [one for one in found if one.get("vulns")]
    skipped = [one for one in found if "skip_reason" in one]
    lines = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no version yet'}"
        for one in unsafe
        for fault in one["vulns"]
    ]
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
    return 0, [f"{len(found)} locked packages, none known to be unsafe."]


def main(arguments: list[str]) -> int:
    found, said, code = arguments
    text = Path(said).read_text(encoding="utf-8") if Path(said).exists() else ""
    ending, lines = judge(read(Path(found)), text, int(code))
    print("\n".join(lines), file=sys.stderr if ending else sys.stdout)
    return ending


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
