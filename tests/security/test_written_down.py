"""What is written about limits, cryptography and fields is what the code does."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydantic
import pytest

from .fields import page
from .planting import PLACES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "limits.md"
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<limit>\d+) \| `(?P<where>[^`]+)` \|", re.MULTILINE)
UNITS = {"days": timedelta(days=1), "hours": timedelta(hours=1), "minutes": timedelta(minutes=1)}


def value_of(where: str) -> int:
    """The number behind ``module:name``, with ``.attribute``, ``[key]`` and a unit of time."""
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for key, name in re.findall(r"\[(\w+)\]|(\w+)", path):
        if key:
            found = found[next(one for one in found if one.value == key)]
        elif isinstance(found, timedelta):
            found = found / UNITS[name]
        elif isinstance(found, type) and issubclass(found, pydantic.BaseModel):
            found = found.model_fields[name].default
        else:
            found = getattr(found, name)
    assert found == int(found)
    return int(found)


@pytest.mark.parametrize("row", ROW.findall(PAGE.read_text("utf-8")), ids=lambda row: row[2])
def test_a_limit_is_what_the_page_says(row: tuple[str, str, str]) -> None:
    what, limit, where = row
    assert value_of(where) == int(limit), what


def test_no_row_of_the_page_is_passed_over() -> None:
    text = PAGE.read_text("utf-8")
    assert len(ROW.findall(text)) == len(re.findall(r"^\| .+ \| `[\w.]+:", text, re.MULTILINE)) > 20


COSTLY = re.compile(
    r"^(import|from) (argon2|segno|fpdf|subprocess|concurrent\.futures|sse_starlette)\b",
    re.MULTILINE,
)
"""What a request should not be able to have done at will: slow hashes, drawing, other programs,
threads, answers that do not end."""

FOR_THE_STORE = {"runtime/store.py", "runtime/turns.py", "messaging/relay_lock.py"}
"""Their threads are a service's own, however many ask."""

WHOLE_LOG = re.compile(r"^POST (\S+/(?:rebuild|reread|replay|compare))$", re.MULTILINE)


def test_what_costs_much_is_on_its_page() -> None:
    page = PAGE.read_text("utf-8").split("## What costs much")[1]
    of_services = [p for p in programs() if "deploy" not in p.parts]
    found = {_inside(path) for path in of_services if COSTLY.search(path.read_text("utf-8"))}
    assert {"identity/hashing.py", "web/live.py"} < found
    assert {name for name in found - FOR_THE_STORE if f"`{name}`" not in page} == set()
    named = set(re.findall(r"`([\w/]+\.py)`", page))
    assert named <= {_inside(path) for path in programs()}


def test_what_reads_a_whole_log_is_on_that_page_and_for_administrators() -> None:
    page = PAGE.read_text("utf-8").split("## What costs much")[1]
    rules = (ROOT / "tests" / "security" / "routes.rules").read_text("utf-8")
    routes = WHOLE_LOG.findall(rules)
    assert len(routes) > 5
    assert {one for one in routes if f"…/{one.rpartition('/')[2]}`" not in page} == set()
    for part in re.split(r"\n(?=\[)", rules):
        if WHOLE_LOG.search(part):
            assert part.startswith("[administrator]"), part


def _inside(path: Path) -> str:
    return "/".join(path.parts[path.parts.index("src") + 1 :])


def programs() -> list[Path]:
    folders = [*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src"), ROOT / "deploy/local/src"]
    return [p for f in folders for p in f.rglob("*.py") if "testing" not in str(p)]


def test_all_cryptography_is_on_its_page() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    uses = re.compile(
        r"^(import|from) (hashlib|hmac|secrets|cryptography|argon2|ssl)\b", re.MULTILINE
    )
    found = {_inside(path) for path in programs() if uses.search(path.read_text("utf-8"))}
    assert len(found) > 15
    assert {name for name in found if f"`{name}`" not in page} == set()


def test_where_personal_data_lies_is_on_its_page() -> None:
    """The places that `test_planting.py` searches are those of the page, and no others."""
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:personal|confided) \| [^|]+ \| ([^|]+) \|", page, re.MULTILINE)
    written = set(re.findall(r"`([^`]+)`", " ".join(rows)))
    assert len(rows) == 2
    assert written == {f"{of}: {table}" for of, tables in PLACES.items() for table in tables}


async def test_who_may_see_which_field_is_on_its_page() -> None:
    written = (ROOT / "docs" / "fields.md").read_text("utf-8")
    assert await page() == written, "run `make docs`"
