"""The pages that the front door shows when no service answers."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

from web.languages import LANGUAGES

FOLDER = Path(__file__).parents[1] / "front-door"


def test_the_pages_are_those_of_their_source() -> None:
    spec = importlib.util.spec_from_file_location("front_door_pages", FOLDER / "source/write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kept = {page.name: page.read_text("utf-8") for page in FOLDER.glob("*.html")}
    assert kept == module.texts(), "run `make docs`"


def test_the_pages_say_it_in_every_language_and_ask_for_nothing_more() -> None:
    words = tomllib.loads((FOLDER / "source" / "words.toml").read_text("utf-8"))
    for page in words.values():
        assert {one["language"] for one in page["said"]} == set(LANGUAGES)
    for file in FOLDER.glob("*.html"):
        assert not re.search(r"\bsrc=|<link|<script|@import|url\((?!#)", file.read_text("utf-8"))
