"""Every line that our own code writes into a log: its event, its level, who writes it, its keys.

    python deploy/audit/log_events.py write docs/logs.md

Read out of the source, so that nothing is written that the page does not name.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")

HEAD = """\
# Logs

What is written where, and what is in it; this page is made by `make docs` from the source.

A service, with its relay and its consumers, writes one JSON object for each line (`text` instead,
where `VICINATO_LOG_FORMAT` says so); Kafka, PostgreSQL and the front door write their own. On one
machine each has a file in `DATA/logs`, of 5 MB at most with three older ones beside it, in a folder
that only its owner can read; `vicinato logs NAME -f` shows it. In containers lines go to stdout.

Each line has `timestamp` (UTC), `level`, `service` and `event`, and where there is one
`correlation`, which follows a request through all services. Only keys of a list pass
(`libs/runtime/src/runtime/logging.py`): ids, codes, counts and durations, no name, no contact,
nothing that somebody typed. Lines of libraries go the same way, those of `WARNING` and above. An
`exception` stands as its kind, its code and the places that it went through. Lines of `info` that a
service writes while it answers come when it has answered those who wait at that moment, so that a
process that is killed may take its last few with it; those of `warning` and above, with all before
them, come at once.

| event | level | written by | keys |
|---|---|---|---|
"""


@dataclass
class Line:
    """One event, from wherever it is written."""

    levels: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


def sources() -> list[Path]:
    """The files of our programs."""
    folders = [*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src"), ROOT / "deploy/local/src"]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def lines() -> dict[str, Line]:
    """All events, by name."""
    found: dict[str, Line] = {}
    for path in sources():
        package = path.parts[path.parts.index("src") + 1]
        for level, event, keys in written_in(path):
            line = found.setdefault(event, Line())
            line.levels.add("error" if level == "exception" else level)
            line.packages.add(package)
            line.keys |= keys | ({"exception"} if level == "exception" else set())
    return dict(sorted(found.items()))


def written_in(path: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Level, event and keys of each line that a file writes.

    Raises ValueError for an event that is not written out where it is logged.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "log"
        ):
            event = node.args[0]
            if not isinstance(event, ast.Constant):
                raise ValueError(f"{path}:{node.lineno} logs what has no fixed name")
            yield node.func.attr, str(event.value), {key.arg or "…" for key in node.keywords}


def page() -> str:
    """The page of docs/."""
    rows = [
        f"| `{event}` | {', '.join(sorted(line.levels))} | {', '.join(sorted(line.packages))} |"
        f" {', '.join(sorted(line.keys))} |"
        for event, line in lines().items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "write":
        sys.stderr.write("usage: log_events.py write FILE\n")
        return 2
    Path(arguments[1]).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
