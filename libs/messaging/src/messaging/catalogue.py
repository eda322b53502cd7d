"""The event catalogue: who tells what to whom. ``docs/events.md`` is made by this and nothing else.

``python -m messaging.catalogue write|check FILE``
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from contracts import COMPACTED, Event, events
from messaging.service import Service

GROUP = "vicinato.services"


def services() -> list[Service]:
    """Every installed service, by its entry point, in the order of their names."""
    found: list[Service] = [e.load() for e in entry_points(group=GROUP)]
    return sorted(found, key=lambda s: s.name)


def document(of: Iterable[Service]) -> str:
    """The catalogue as Markdown."""
    known = list(of)
    lines = [
        "# Events",
        "",
        "Made by `python -m messaging.catalogue write`; do not edit. The envelope is described in",
        "`docs/architecture.md`, every body by a JSON Schema in `libs/contracts/schemas/`.",
        "",
    ]
    for topic in sorted({e.TOPIC for e in events()}):
        writer = next((s.name for s in known if topic in s.topics), "nobody")
        kind = (
            "compacted: the last record of each key" if topic in COMPACTED else "keeps everything"
        )
        lines += [
            f"## `{topic}`",
            "",
            f"Written by **{writer}**, {kind}.",
            "",
            "| event | key | what it says | policies | projections |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(event, known) for event in events(topic)]
        lines.append("")
    return "\n".join(lines)


def _row(event: type[Event], known: list[Service]) -> str:
    policies = ", ".join(s.name for s in known if event in s.policies.events)
    projections = ", ".join(
        f"{s.name}.{p.name}" for s in known for p in s.projections if event in p.events
    )
    if all(event in p.events for s in known for p in s.all_projections if p.name == "auth"):
        projections = ", ".join(filter(None, ["all services", projections]))
    says = " ".join((event.__doc__ or "").split()).replace("|", "\\|")
    return f"| `{event.ce_type()}` | `{event.KEY}` | {says} | {policies} | {projections} |"


def main(arguments: list[str]) -> int:
    """Write the catalogue, or say that the file is not what it should be."""
    if len(arguments) != 2 or arguments[0] not in ("write", "check"):
        sys.stderr.write("usage: python -m messaging.catalogue write|check FILE\n")
        return 2
    action, path = arguments[0], Path(arguments[1])
    text = document(services())
    if action == "write":
        path.write_text(text, encoding="utf-8")
        return 0
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{path} is not what the code says: write it anew\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
