"""What a family reads is easy to read: B1 and less.

The Gulpease index of a text in Italian is 89 + (300 × sentences − 10 × letters) / words; from 60 on
somebody with eight years of school reads it without help (Lucisano and Piemontese, 1988).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

SERVICES = Path(__file__).parents[1] / "services"
EASY = 60
LONGEST = 20
"""Words of a sentence."""

PAGES = (
    ("cards", "me.html"),
    ("activities", "activities/home.html"),
    ("activities", "activities/session.html"),
    ("activities", "activities/parts.html"),
    ("notifications", "inbox.html"),
    ("notifications", "preferences.html"),
)


def italian(service: str) -> dict[str, str]:
    path = SERVICES / service / "src" / service / "locales" / "it" / "messages.po"
    with path.open("rb") as file:
        return {
            one.id if isinstance(one.id, str) else one.id[0]: (
                one.string if isinstance(one.string, str) else one.string[0]
            )
            for one in read_po(file)
            if one.id
        }


def sentences(texts: list[str]) -> list[list[str]]:
    """The words of each sentence; what is no sentence (a title, a button) is left out."""
    found = [re.split(r"[.!?:;]+(?:\s|$)", text) for text in texts if len(text.split()) > 4]
    words = [re.findall(r"\w+", part) for parts in found for part in parts]
    return [part for part in words if part]


def gulpease(said: list[list[str]]) -> float:
    words = [word for sentence in said for word in sentence]
    return 89 + (300 * len(said) - 10 * sum(map(len, words))) / len(words)


@pytest.mark.parametrize(("service", "page"), PAGES)
def test_a_page_of_a_family_is_easy_to_read(service: str, page: str) -> None:
    template = SERVICES / service / "src" / service / "templates" / page
    said = re.findall(r'_\("((?:[^"\\]|\\.)*)"', template.read_text("utf-8"))
    known = italian(service)
    found = sentences([known[one] for one in said if one in known])
    assert found
    assert gulpease(found) >= EASY
    assert max(map(len, found)) <= LONGEST


def test_every_message_to_a_family_is_easy_to_read() -> None:
    for text in italian("notifications").values():
        for sentence in sentences([text]):
            assert len(sentence) <= LONGEST, text
        if found := sentences([text]):
            assert gulpease(found) >= EASY, text


def test_the_measure_knows_an_administration() -> None:
    said = (
        "Si comunica che l'istanza relativa all'iscrizione presentata dall'interessato non risulta "
        "accoglibile in considerazione dell'avvenuto raggiungimento della capienza massima."
    )
    assert gulpease(sentences([said])) < 45
