"""Every figure that an alarm or the dashboard asks for is told by a running house."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from house import House

from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("house"), pytest.mark.timeout(300)]

OF_PROMETHEUS = {"up", "ALERTS"}
WORDS = re.compile(r"(?<![\w\"'])((?:vicinato|process)_\w+)")


def expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def told(house: House) -> dict[str, set[str]]:
    """The names of all samples, and the names of their labels."""
    found: dict[str, set[str]] = {}
    for service in SERVICES:
        page = house.metrics(service)
        for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", page, re.MULTILINE):
            found.setdefault(name, set()).update(re.findall(r"(\w+)=\"", labels))
    return found


def test_every_figure_that_is_asked_for_is_told(house: House) -> None:
    house.household()
    there = told(house)
    folder = deploy_folder() / "grafana"
    rules = yaml.safe_load((folder / "alerts.yml").read_text())
    board = json.loads((folder / "dashboards" / "vicinato.json").read_text())
    asked = [*expressions(rules), *expressions(board)]
    names = {name for text in asked for name in WORDS.findall(text)}
    assert len(names) > 15
    assert names <= set(there), names - set(there)
    for text in asked:
        for name, labels in re.findall(r"(\w+)\{([^}]*)\}", text):
            if name not in OF_PROMETHEUS:
                wanted = set(re.findall(r"(\w+)=", labels)) - {"job", "service"}
                assert wanted <= there[name], text
