"""Private keys at rest: sealed by a secret that lies beside the store and never in it.

Whoever has a backup of the store alone can sign nothing. The secret is a line of a file
(`VICINATO_IDENTITY_KEY_FILE`); to change it, put the new one on a line above the old one: the first
seals, all open, and the next start seals anew what the others had sealed.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from runtime.settings import SettingsError

SETTING = "VICINATO_IDENTITY_KEY_FILE"
SHORTEST = 24
"""Characters of a secret; what `vicinato` makes has 32, from 24 random bytes."""


class Seal:
    """Closes and opens private keys: AES-128 and HMAC-SHA256 (Fernet), keyed by HKDF-SHA256."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(_key(secret)) for secret in secrets])

    def close(self, raw: bytes) -> bytes:
        return self._fernet.encrypt(raw)

    def open(self, sealed: bytes) -> bytes | None:
        """What was closed, or None when it was closed by a secret that is not ours."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            return None

    def anew(self, sealed: bytes) -> bytes:
        """Closed by the first secret, whichever of ours had closed it."""
        return self._fernet.rotate(sealed)


def _key(secret: str) -> bytes:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"vicinato identity signing keys")
    return base64.urlsafe_b64encode(derived.derive(secret.encode()))


def read(file: Path | None) -> Seal:
    """The seal of a file of secrets. Raises SettingsError."""
    if file is None:
        raise SettingsError(f"{SETTING} is missing: name a file with a secret of your own")
    try:
        secrets = file.read_text("utf-8").split()
    except (OSError, UnicodeError):
        raise SettingsError(f"{SETTING}: {file} cannot be read") from None
    if not secrets or min(map(len, secrets)) < SHORTEST:
        raise SettingsError(f"{SETTING}: a secret has {SHORTEST} characters at least")
    return Seal(secrets)


_in_use: list[Seal] = []


def use(seal: Seal) -> None:
    """This process seals with it from now on."""
    _in_use[:] = [seal]


def seal() -> Seal:
    """The seal of this process; a start without one has been refused."""
    return _in_use[0]
