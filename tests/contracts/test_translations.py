"""Every sentence of every package in every language, and which of them a human has looked at."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from messaging.catalogue import services
from web.translations import LANGUAGES
from web.translations.catalogs import TRANSLATED, lacking, sentences
from web.translations.review import HEAD, REVIEWED, reviewed, translations, write_unreviewed

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("web", *(service.package for service in services()))


def test_the_house_speaks_five_languages() -> None:
    assert set(LANGUAGES) == {"it", "en", "ar", "es", "fr"}
    assert len(PACKAGES) == 7


@pytest.mark.parametrize("package", PACKAGES)
def test_every_sentence_is_translated(package: str) -> None:
    assert lacking(package) == []
    assert len([message for message in sentences(package) if message.id]) > 20


def test_what_was_reviewed_is_what_is_said() -> None:
    """A row whose words have changed since is no review of anything."""
    said = {row for package in PACKAGES for row in translations(package)}
    assert reviewed(ROOT / REVIEWED) <= said


def test_a_name_takes_a_row_from_the_list_and_a_change_puts_it_back(tmp_path: Path) -> None:
    every, out = list(translations("web")), io.StringIO()
    assert {row[1] for row in every} == set(TRANSLATED)
    assert write_unreviewed(["web"], out, tmp_path / "none.csv") == len(every)
    head, first, *others = out.getvalue().splitlines()
    assert head == ",".join(HEAD)
    seen = tmp_path / "reviewed.csv"
    seen.write_text("\n".join([head, first + "Samira", others[0]]) + "\n", "utf-8")
    assert write_unreviewed(["web"], io.StringIO(), seen) == len(every) - 1
    seen.write_text("\n".join([head, first.replace(every[0][3], "altro") + "Samira"]), "utf-8")
    assert write_unreviewed(["web"], io.StringIO(), seen) == len(every)
