"""The small parts alone: amounts, answers kept, translations, formats, rates."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from web import answers, formats
from web.forms import cents
from web.pages import euros
from web.translations import LANGUAGES, Translations, catalogs, choose

NOW = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "amount"),
    [
        ("1,50", 150),
        ("1.50", 150),
        ("1,5", 150),
        ("0,05", 5),
        ("12", 1200),
        ("€ 1.234,50", 123450),
        ("1.234", 123400),
        ("1 234,50 €", 123450),
        ("-3,20", -320),
        ("٣", 300),  # the digits of an Arabic keyboard
    ],
)
def test_amounts_are_read_as_people_write_them(typed: str, amount: int) -> None:
    assert cents(typed) == amount


@pytest.mark.parametrize("typed", ["", "a", "1,234", "1,2,3", "1.2.3", "--1", "1e3", "1,"])
def test_what_is_no_amount_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        cents(typed)


@given(st.integers(-(10**8), 10**8))
def test_an_amount_shown_in_a_field_is_read_back_the_same(amount: int) -> None:
    assert cents(euros(amount)) == amount


class Colour(StrEnum):
    RED = "red"


class Model(BaseModel):
    at: datetime
    price: Decimal
    inner: list[date]


@dataclasses.dataclass(frozen=True)
class Sale:
    id: str
    lines: tuple[int, ...]
    colour: Colour


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.dates()
    | st.datetimes(timezones=st.just(UTC))
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.just(Colour.RED)
    | st.builds(
        Model,
        at=st.datetimes(timezones=st.just(UTC)),
        price=st.decimals(allow_nan=False, allow_infinity=False),
        inner=st.lists(st.dates(), max_size=2),
    )
    | st.builds(Sale, id=st.text(), lines=st.tuples(st.integers()), colour=st.just(Colour.RED)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_a_kept_answer_comes_back_as_it_was(value: Any) -> None:
    kept = json.loads(json.dumps(answers.encoded(value)))
    assert answers.decoded(kept) == value


def test_a_value_that_cannot_be_kept_is_seen_at_once() -> None:
    with pytest.raises(TypeError, match="object"):
        answers.encoded(object())


def test_every_sentence_of_web_is_translated() -> None:
    assert catalogs.lacking("web") == []


def test_the_tool_names_what_lacks_and_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalogs.main(["check", "web_sample"]) == 1
    told = capsys.readouterr().out
    assert "web_sample it: no translation: Nothing here." in told
    assert "web_sample it: other placeholders: Hello %(name)s" in told
    assert "web_sample ar: no translation: Things" in told
    assert "it: no translation: Things" not in told
    assert "Language" not in told  # web has it
    assert catalogs.main(["check"]) == 2


def test_the_tool_brings_catalogs_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "small"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "code.py").write_text('N_("One {thing}")\nngettext("%(num)s a", "%(num)s b", n)\n')
    (folder / "templates" / "page.html").write_text('{{ _("Two %(n)s", n=1) }} {{ _("Sign in") }}')
    monkeypatch.syspath_prepend(tmp_path)
    assert catalogs.main(["extract", "small"]) == 0
    file = folder / "locales" / "it" / "messages.po"
    text = file.read_text()
    assert 'msgid "One {thing}"' in text
    assert "Sign in" not in text
    file.write_text(
        text.replace('msgid "One {thing}"\nmsgstr ""', 'msgid "One {thing}"\nmsgstr "Un {thing}"')
    )
    once = file.read_text()
    assert catalogs.main(["extract", "small"]) == 0
    assert file.read_text() == once
    assert Translations("small").of("it").say("One {thing}", thing="x") == "Un x"
    assert len([f for f in catalogs.lacking("small") if " it:" in f]) == 2


@pytest.mark.parametrize(
    ("language", "one", "two", "five"),
    [
        ("it", "1 punto", "2 punti", "5 punti"),
        ("en", "1 point", "2 points", "5 points"),
        ("es", "1 punto", "2 puntos", "5 puntos"),
        ("fr", "1 point", "2 points", "5 points"),
        ("ar", "نقطة واحدة", "نقطتان", "5 نقاط"),
    ],
)
def test_points_follow_the_plurals_of_the_language(
    language: str, one: str, two: str, five: str
) -> None:
    to = Translations().of(language)
    assert [formats.points(to, n) for n in (1, 2, 5)] == [one, two, five]


def test_money_and_moments_follow_the_language_and_the_centre() -> None:
    to = Translations()
    assert formats.money(to.of("it"), 123450) == "1.234,50\u00a0€"
    assert formats.money(to.of("en"), 123450) == "€1,234.50"
    assert formats.percent(to.of("it"), 15) == "15%"
    assert formats.percent(to.of("fr"), 100) == "100\u00a0%"
    summer = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    assert formats.moment(to.of("it"), summer, formats.ZONE) == "2 lug 2026, 00:30"
    assert formats.day(to.of("it"), date(2026, 7, 1), formats.ZONE) == "1 lug 2026"
    assert all(formats.moment(to.of(language), NOW, formats.ZONE) for language in LANGUAGES)


def test_a_language_has_its_name_in_the_readers() -> None:
    to = Translations()
    assert [formats.tongue(to.of("it"), code) for code in ("ar", "zh", "si")] == [
        "arabo",
        "cinese",
        "singalese",
    ]
    assert formats.tongue(to.of("ar"), "it") == "الإيطالية"
    assert formats.tongue(to.of("it"), "pt-BR") == "portoghese brasiliano"
    assert formats.tongue(to.of("it"), "fr-XX") == "francese"
    assert formats.tongue(to.of("it"), "qqq") == "qqq"


def test_the_language_is_chosen_by_weight() -> None:
    assert choose("", accept="de;q=1, ar;q=0.5, es;q=0.9") == "es"
    assert choose("xx", "fr", accept="es") == "fr"
    assert choose(accept="q=;;,,*;q=x") == "it"
