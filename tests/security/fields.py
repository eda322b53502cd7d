"""Who may read and who may write which field: read out of every service's OpenAPI document and the
rules of its routes.

    PYTHONPATH=tests python -m security.fields docs/fields.md

writes the page; `test_written_down.py` fails when it is not what the services say.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from web.roles import Role
from web.testing import Client

from .conftest import sealing_key
from .routes import Rule, rules_of, services

HEAD = """\
# Fields

Who may read and who may write what through the API of each service; made by `make docs` from the
OpenAPI documents and `tests/security/routes.rules`, which the tests hold against the applications.

A role is not all: staff see what belongs to their own centre, a family its own household, a
producer its own goods, a partner what was referred to its organisation.
"""

REF = "#/components/schemas/"

Row = tuple[str, str, str, str]
"""What, its fields, who reads it, who writes it."""


def rows_of(document: dict[str, Any], rules: list[Rule]) -> list[Row]:
    """What one service takes and gives, by name; a page of a list is what is on it."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    readers: dict[str, set[Role | None]] = {}
    writers: dict[str, set[Role | None]] = {}
    for rule in rules:
        path = rule.path.replace(":path}", "}")
        operation = document["paths"].get(path, {}).get(rule.method.lower())
        if operation is None:
            continue
        roles: set[Role | None] = set(rule.roles) if rule.roles is not None else {None}
        answers = [found for code, found in operation["responses"].items() if code[0] == "2"]
        for name in named(answers, schemas):
            readers.setdefault(name, set()).update(roles)
        for name in named(operation.get("requestBody", {}), schemas):
            writers.setdefault(name, set()).update(roles)
    return [
        (name, ", ".join(fields(schemas[name])), said(readers.get(name)), said(writers.get(name)))
        for name in sorted(readers.keys() | writers.keys())
        if fields(schemas[name]) and not name.startswith("Page_")
    ]


def table(title: str, rows: list[Row]) -> str:
    """A part of the page."""
    head = "| what | fields | who reads | who writes |\n|---|---|---|---|"
    return "\n".join([f"## {title}", "", head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def fields(schema: dict[str, Any]) -> list[str]:
    """The names of an object's fields."""
    return list(schema.get("properties", {}))


def named(part: Any, schemas: dict[str, Any]) -> set[str]:
    """The schemas that a part of a document names, and those that they name."""
    found: set[str] = set()
    left = list(references(part))
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += references(schemas[name])
    return found


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str) and reference.startswith(REF):
            yield reference.removeprefix(REF)
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def said(roles: set[Role | None] | None) -> str:
    """Roles in words, in the order in which the house names them."""
    if not roles:
        return ""
    if None in roles:
        return "anybody"
    if roles == set(Role):
        return "whoever is signed in"
    return ", ".join(role.value.replace("_", " ") for role in Role if role in roles)


async def page() -> str:
    """The whole page."""
    found: dict[str, list[Row]] = {}
    for service in services():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            keys = {"identity_key_file": sealing_key(place)} if service.name == "identity" else {}
            async with Client(service, f"sqlite:////{place / 'store.db'}", settings=keys) as client:
                found[service.name] = rows_of(client.app.openapi(), rules_of(service))
    everywhere = set.intersection(*(set(rows) for rows in found.values()))
    parts = [HEAD, table("Every service", sorted(everywhere))]
    for name, rows in found.items():
        parts.append(table(name.capitalize(), [row for row in rows if row not in everywhere]))
    return "\n".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(page()), encoding="utf-8")
