"""Households and people: what makes one complete, and by which words it is found."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date

from contracts.cards import Purpose, Stage
from runtime.refusals import N_, Invalid

__all__ = [
    "MOST_MEMBERS",
    "Purpose",
    "Stage",
    "check_birth_date",
    "check_holder",
    "phone_of",
    "query_words",
    "search_words",
]

MOST_MEMBERS = 30
OLDEST_YEARS = 120
_DIGITS = re.compile(r"\d+")


def check_holder(holders: Iterable[bool]) -> None:
    """Exactly one member holds the card of the household (DOMAIN: one holder per card)."""
    flags = list(holders)
    if not flags:
        raise Invalid(
            "household.empty",
            N_("A household has at least one member."),
            N_("Write the name of the holder."),
            field="members",
        )
    if len(flags) > MOST_MEMBERS:
        raise Invalid(
            "household.too_many",
            N_("A household has at most {most} members."),
            N_("Register a second household for the others."),
            field="members",
            most=MOST_MEMBERS,
        )
    if sum(flags) != 1:
        raise Invalid(
            "household.holder",
            N_("Exactly one member is the holder of the card."),
            N_("Mark one member as the holder."),
            field="members",
        )


def check_birth_date(born: date | None, today: date) -> None:
    """A birth date lies in the past, and not before anybody alive was born."""
    if born is not None and not (today.year - OLDEST_YEARS <= born.year and born <= today):
        raise Invalid(
            "person.birth_date",
            N_("This birth date cannot be right."),
            N_("Write the day, the month and the year, or leave it empty."),
            field="birth_date",
        )


def phone_of(typed: str) -> str:
    """A phone number in E.164 (``+393331234567``); Italian when no country is given; "" of "".

    Raises Invalid ``person.phone`` when it cannot be one.
    """
    text = typed.strip()
    if not text:
        return ""
    digits = "".join(re.findall(r"[0-9]", text))
    if text.startswith("+"):
        number = digits
    elif digits.startswith("00"):
        number = digits[2:]
    else:
        number = "39" + digits
    if not re.fullmatch(r"\+?[\d\s./()-]+", text, re.ASCII) or not 8 <= len(number) <= 15:
        raise Invalid(
            "person.phone",
            N_("This is not a phone number."),
            N_("Write it with its digits, for example 333 123 4567 or +34 612 345 678."),
            field="phone",
        )
    return "+" + number


def search_words(*texts: str, phone: str = "") -> frozenset[str]:
    """The words by which a person is found: parts of the name without accents, phone digits."""
    words = {word[:64] for text in texts for word in _words(text)}
    if phone:
        digits = phone.lstrip("+")
        words.add(digits)
        if digits.startswith("39"):
            words.add(digits[2:])
    return frozenset(words)


def query_words(typed: str, most: int = 6) -> tuple[str, ...]:
    """The words of what was typed in the search box, the longest (rarest) first.

    A text of digits and separators alone is one number: ``333 123 4567`` is looked for as a whole.
    """
    text = typed.strip()
    if re.fullmatch(r"\+?[\d\s./()-]+", text, re.ASCII):
        digits = "".join(_DIGITS.findall(text)).removeprefix("00")
        return (digits[:64],) if digits else ()
    words = sorted({word[:64] for word in _words(text)}, key=lambda word: (-len(word), word))
    return tuple(words[:most])


def _words(text: str) -> list[str]:
    """Case and accents folded away, cut at everything that is no letter, mark or digit."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in folded if unicodedata.category(c) != "Mn")
    return [word for word in re.split(r"[^\w]+|_", unicodedata.normalize("NFKC", plain)) if word]
