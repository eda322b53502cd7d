"""E-mail addresses as people type them, and the one form in which they are stored."""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email

from runtime.refusals import N_, Invalid

PHONE = r"^\+?[0-9 ./()-]*$"
"""A number as people write it on a door."""

LONGEST = 254
"""RFC 5321 leaves no room for more."""

_PUBLIC = ".org"
"""Put behind the address while it is checked: else names of local networks are refused."""


def email_of(text: str) -> str:
    """The stored form of an address: checked, NFKC, lower case.

    Two spellings that differ only in case are one person (nobody keeps two such mailboxes).
    Domains of a local network are fine: the address names an account and need not get mail.
    Raises Invalid("email.malformed").
    """
    typed = unicodedata.normalize("NFKC", text).strip()
    if 0 < len(typed) <= LONGEST and "." in typed.rpartition("@")[2]:
        try:
            checked = validate_email(typed + _PUBLIC, check_deliverability=False)
        except (EmailNotValidError, UnicodeError):
            pass
        else:
            stored = checked.normalized.removesuffix(_PUBLIC)
            return unicodedata.normalize("NFKC", stored.lower())
    raise Invalid(
        "email.malformed",
        N_("This is not an e-mail address."),
        N_("Write it like name@example.org."),
        field="email",
    )


def spoken_email(text: str) -> str:
    """What an address is compared by when somebody signs in: never refused, so that a malformed
    one gets the same answer as one that nobody has."""
    try:
        return email_of(text)
    except Invalid:
        return unicodedata.normalize("NFKC", text[:LONGEST]).strip().lower()
