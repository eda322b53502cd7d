"""Alarms and dashboard: right by the tools that run them, and every alarm has its page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES
from vicinato.testing import unavailable

FOLDER = deploy_folder() / "grafana"
ROOT = deploy_folder().parent
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def promtool(*words: str) -> None:
    path = shutil.which("promtool")
    if path is None:
        unavailable("promtool is not here; it is in Debian's package prometheus")
    done = subprocess.run([path, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", "alerts.yml")


def test_they_alarm_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_prometheus_takes_its_configuration() -> None:
    promtool("check", "config", "prometheus.yml")
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    told = [one["labels"]["service"] for one in jobs[0]["static_configs"]]
    assert tuple(told) == SERVICES


def test_every_alarm_is_tested() -> None:
    tested = (FOLDER / "alerts_test.yml").read_text()
    for rule in RULES:
        assert f'alertname="{rule["alert"]}"' in tested


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_alarm_has_a_page_that_names_it(rule: dict[str, Any]) -> None:
    page = ROOT / rule["annotations"]["runbook"]
    assert page.parent == RUNBOOKS
    assert f"`{rule['alert']}`" in page.read_text(encoding="utf-8")
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_pages_link_to_pages_that_there_are() -> None:
    for page in RUNBOOKS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    overview = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for page in RUNBOOKS.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in overview


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """What its own model does not know is lost on the way through it."""
    board = json.loads((FOLDER / "dashboards" / "vicinato.json").read_text())
    through = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert list(lost(board, through)) == []
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """The paths at which `kept` is not what `given` is."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            one
            for key, value in given.items()
            for one in lost(value, kept.get(key), f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            one
            for k, pair in enumerate(zip(given, kept, strict=True))
            for one in lost(*pair, f"{path}[{k}]")
        ]
    return [] if given == kept else [path]
