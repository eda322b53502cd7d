"""The routes of the services as they are, and the written rules of who may use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from messaging import Service
from web.roles import Role

RULES = Path(__file__).with_name("routes.rules")
STATIC = "/static"

LEADS = {Role.ADMINISTRATOR, Role.COORDINATOR}
DESK = LEADS | {Role.RECEPTION}
GROUPS: dict[str, set[Role]] = {
    "leads": LEADS,
    "desk": DESK,
    "planners": DESK | {Role.EDUCATOR},
    "sellers": LEADS | {Role.TILL},
    "editors": LEADS | {Role.CASE_WORKER},
    "senders": DESK | {Role.CASE_WORKER},
    "staff": DESK | {Role.TILL, Role.EDUCATOR, Role.CASE_WORKER},
    "signed-in": set(Role),
}
ANYBODY = "anybody"
OWN = "(own)"


@dataclass(frozen=True)
class Rule:
    """Who may ask ``method path``. ``roles`` is None for anybody; ``scope`` is as in the file."""

    method: str
    path: str
    roles: frozenset[Role] | None
    scope: str

    @property
    def route(self) -> tuple[str, str]:
        return self.method, self.path

    def address(self, **known: str) -> str:
        """The path with its places filled: those that are known, else what nobody has."""
        return re.sub(r"\{(\w+)(:path)?\}", lambda m: known.get(m[1], "nothing-there"), self.path)


@cache
def services() -> tuple[Service, ...]:
    """The six services, as they are installed: looked for once, for it takes 20 ms."""
    found = [cast(Service, one.load()) for one in entry_points(group="vicinato.services")]
    return tuple(sorted(found, key=lambda one: one.name))


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of everything that an application answers to, but for files."""
    return {
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        if route.path != STATIC
        for method in (route.methods or {"MOUNT"})
    }


def rules_of(service: Service) -> list[Rule]:
    """What is written of a service."""
    return [
        rule
        for rule in _read(service.prefix)
        if not rule.path.startswith("/") or _is_of(rule.path, service.prefix)
    ]


def _is_of(path: str, prefix: str) -> bool:
    first = f"/{path.split('/')[1]}"
    return first == prefix or first not in {one.prefix for one in services()}


def _read(prefix: str) -> Iterator[Rule]:
    roles: frozenset[Role] | None = frozenset()
    scope = ""
    for line in RULES.read_text("utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if block := re.fullmatch(r"\[([^]]+)\]\s*(\S*)", line):
            roles, scope = _roles(block[1].split()), block[2]
            continue
        method, path = line.split()
        yield Rule(method, path.replace("{prefix}", prefix), roles, scope)


def _roles(names: list[str]) -> frozenset[Role] | None:
    if names == [ANYBODY]:
        return None
    return frozenset(r for n in names for r in GROUPS.get(n, {Role(n)} if n in set(Role) else ()))
