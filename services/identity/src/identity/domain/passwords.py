"""What a password must be: long, not the address itself, not made of words that everybody here
knows, and none of the most common ones. Nothing about kinds of characters (NIST SP 800-63B: length
helps, composition rules do not).

``common_passwords.txt`` holds the beginnings of the SHA-256 of the 3,000 most common passwords of
eight characters or more, and of all of twelve or more among the 30,000 most common (OWASP ASVS 5.0,
6.2.4), by the frequency list of zxcvbn (Dropbox, MIT): nobody has to read them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from importlib.resources import files

from contracts.identity import Role
from runtime.refusals import N_, Invalid

FOR_STAFF = 12
FOR_FAMILIES = 8
LONGEST = 128

FIRST_LASTS = timedelta(days=14)
"""How long a password holds that somebody gave to another (OWASP ASVS 5.0, 6.4.1): a family that
comes once a week has it the next time still. What somebody chose for themselves never ends."""

_DIGITS, _IN_A_GROUP = 12, 4

WORDS_OF_THE_HOUSE = ("vicinato", "prossimità", "prossimita", "centro")
"""Together with the words of the address and of the names of person and centre: what somebody who
knows the place would try (OWASP ASVS 5.0, 6.2.11; `docs/limits.md`)."""

SHORTEST_WORD = 4
LEFT = 4
"""Letters that must be left of a password without these words."""


def shortest_for(roles: Iterable[Role]) -> int:
    """Characters needed: 8 for who is nothing but a family, 12 for everybody else."""
    return FOR_FAMILIES if set(roles) == {Role.FAMILY} else FOR_STAFF


def prepared(password: str) -> str:
    """The form that is hashed: NFKC, so that the same word typed on another keyboard is the same,
    and without the white space around it that copying adds.

    Never refused: what cannot be text becomes something that no stored password equals.
    """
    text = password.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFKC", text).strip()


def first_password() -> str:
    """A random one to give to somebody, as ``4729-3658-2947``: 12 digits, 40 bits.

    Digits alone: every language can say them, every keyboard has them in one place, none looks like
    a letter, and they never come out as a word.
    """
    return _grouped(f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}")


def as_given(typed: str) -> str:
    """Twelve digits as `first_password` writes them, in whatever groups they were typed and in the
    digits of any script; anything else as it is. For passwords that somebody gives to another."""
    left = [one for one in typed if not one.isspace() and unicodedata.category(one) != "Pd"]
    if len(left) != _DIGITS or not all(one.isdecimal() for one in left):
        return typed
    return _grouped("".join(str(unicodedata.decimal(one)) for one in left))


def _grouped(digits: str) -> str:
    return "-".join(digits[at : at + _IN_A_GROUP] for at in range(0, _DIGITS, _IN_A_GROUP))


def acceptable(
    password: str, *, email: str, roles: Iterable[Role], names: Iterable[str] = ()
) -> str:
    """The prepared form of a *new* password. Raises Invalid with the reason, field "password".

    ``names`` are those of the person and of the place.
    """
    try:
        password.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid(
            "password.not_text",
            N_("The password has characters that cannot be stored."),
            N_("Choose another one."),
            field="password",
        ) from error
    ready = prepared(password)
    shortest = shortest_for(roles)
    if len(ready) < shortest:
        raise Invalid(
            "password.too_short",
            N_("The password is too short: it needs at least {shortest} characters."),
            N_("Three or four words in a row are easy to remember."),
            field="password",
            shortest=shortest,
        )
    if len(ready) > LONGEST:
        raise Invalid(
            "password.too_long",
            N_("The password is too long: {longest} characters at most."),
            N_("Choose a shorter one."),
            field="password",
            longest=LONGEST,
        )
    address = prepared(email).casefold()
    if address and ready.casefold() in {address, address.partition("@")[0]}:
        raise Invalid(
            "password.is_email",
            N_("The password is the e-mail address."),
            N_("Choose another one."),
            field="password",
        )
    if _of_the_place(ready, [address, *names]):
        raise Invalid(
            "password.of_the_place",
            N_("The password is made of names that everybody here knows."),
            N_("Three or four other words in a row are easy to remember."),
            field="password",
        )
    if _mark(ready.casefold()) in _common():
        raise Invalid(
            "password.common",
            N_("This password is one of the most common of all, and would be guessed soon."),
            N_("Three or four words in a row are easy to remember."),
            field="password",
        )
    return ready


def acceptable_first(
    password: str, *, email: str, roles: Iterable[Role], names: Iterable[str] = ()
) -> str:
    """`acceptable`, for a password that is given to somebody else."""
    return as_given(acceptable(password, email=email, roles=roles, names=names))


def of_their_own(password: str, present: str) -> None:
    """Raises Invalid("password.same") when a new password is the one that it is to replace."""
    if as_given(prepared(password)) == as_given(prepared(present)):
        raise the_same()


def the_same() -> Invalid:
    """Whoever chooses a password keeps the present one."""
    return Invalid(
        "password.same",
        N_("This is the password that you have already."),
        N_("Choose another one."),
        field="password",
    )


def _of_the_place(password: str, names: Iterable[str]) -> bool:
    """Whether next to nothing is left of its letters without the words of the place."""
    known = {word for text in names for word in _WORDS.findall(prepared(text).casefold())}
    letters = "".join(_WORDS.findall(password.casefold()))
    left = letters
    for word in sorted({*WORDS_OF_THE_HOUSE, *known}, key=len, reverse=True):
        if len(word) >= SHORTEST_WORD:
            left = left.replace(word, "")
    return left != letters and len(left) < LEFT


_WORDS = re.compile(r"[^\W\d_]+")


@cache
def _common() -> frozenset[str]:
    return frozenset((files(__package__) / "common_passwords.txt").read_text("ascii").split())


def _mark(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()[:20]
