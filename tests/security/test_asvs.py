"""``docs/asvs.csv`` says honestly how the house stands to OWASP's standard (ASVS 5.0)."""

from __future__ import annotations

import ast
import csv
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "asvs.csv"
COLUMNS = ["id", "level", "what", "status", "evidence", "note"]
MET, NOT_YET, NOT_APPLICABLE = "met", "not yet", "not applicable"


def rows() -> list[dict[str, str]]:
    with FILE.open(encoding="utf-8", newline="") as file:
        read = csv.DictReader(file)
        assert read.fieldnames == COLUMNS
        return list(read)


@cache
def collected_in(path: str) -> frozenset[str]:
    """The tests that pytest collects in a file, without those that are always skipped."""
    file = ROOT / path
    if not file.is_file() or not file.name.startswith("test_"):
        return frozenset()
    return frozenset(
        node.name
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any("mark.skip(" in ast.unparse(mark) for mark in node.decorator_list)
    )


def test_every_requirement_stands_once_with_a_known_status() -> None:
    ids = [row["id"] for row in rows()]
    assert len(ids) == len(set(ids)) == 253, "70 of level 1 and 183 of level 2"
    for row in rows():
        assert row["status"] in (MET, NOT_YET, NOT_APPLICABLE), row["id"]
        assert row["level"] in ("1", "2")
        assert row["what"]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["id"])
def test_what_is_met_names_a_test_and_what_is_not_says_why(row: dict[str, str]) -> None:
    if row["status"] != MET:
        assert row["note"]
        assert not row["evidence"]
        return
    assert row["evidence"]
    for evidence in row["evidence"].split():
        path, _, name = evidence.partition("::")
        assert name in collected_in(path), f"there is no test {evidence}"
