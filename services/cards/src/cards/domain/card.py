"""The card: a key to the household's account, never the account. Losing it loses nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from enum import StrEnum

from stdnum import luhn

NUMBER_DIGITS = 12
TOKEN_BYTES = 20
"""160 bits: 32 characters of base32 without padding, which every keyboard layout types alike."""

_TOKEN = re.compile(r"[A-Z2-7]{32}")


class CardState(StrEnum):
    """A blocked card opens nothing, for ever; a new one is handed out instead."""

    ACTIVE = "active"
    BLOCKED = "blocked"


class BlockReason(StrEnum):
    """Why a card was blocked (contract ``cards.card.blocked``)."""

    LOST = "lost"
    STOLEN = "stolen"
    REPLACED = "replaced"
    OTHER = "other"


def new_number(below: Callable[[int], int] = secrets.randbelow) -> str:
    """Twelve digits, the last one checking the others (Luhn), the first never 0."""
    body = str(10 ** (NUMBER_DIGITS - 2) + below(9 * 10 ** (NUMBER_DIGITS - 2)))
    return body + str(luhn.calc_check_digit(body))


def number_of(typed: str) -> str | None:
    """The digits of a card number typed in any grouping, or None when it cannot be one."""
    digits = re.sub(r"[\s.-]", "", typed)
    if len(digits) != NUMBER_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return digits if luhn.is_valid(digits) else None


def new_token(random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """What the QR says. Shown once; only its digest is kept."""
    return base64.b32encode(random(TOKEN_BYTES)).decode("ascii")


def digest_of(scanned: str) -> str | None:
    """SHA-256 (hexadecimal) of a scanned token, or None when it cannot be one."""
    token = scanned.strip().upper()
    if not _TOKEN.fullmatch(token):
        return None
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def grouped(number: str) -> str:
    """``1234 5678 9012``, as it is printed and read aloud."""
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))
