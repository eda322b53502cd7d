"""The very first start: an administrator, then the demonstration centre. Each once.

`first-start.json` in the data folder remembers how far it came; the passwords lie in `secrets/`.
A load that was broken off goes on with the same passwords and the same moment, so that each of its
requests is the same again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from vicinato import steps
from vicinato.folder import Folder
from vicinato.programs.service import store_url
from vicinato.secrets import write_private
from vicinato.settings import Settings

ADMINISTRATOR = "first-admin.json"
SIGN_INS = "demonstration-sign-ins.json"
DEMONSTRATION = "demonstration"
"""The secret of which the passwords of the demonstration centre are made."""
GOES_ON_FOR = timedelta(days=6)
"""A load that was broken off earlier cannot go on: services know a request again for seven days."""


def readable_password() -> str:
    """Ten syllables, 61 bits: can be read out over the telephone."""
    return _syllables(secrets.token_bytes(32))


def readable_password_of(secret: str, name: str) -> str:
    """The one of `name`, always the same."""
    return _syllables(hmac.digest(secret.encode(), name.encode(), "sha256"))


def _syllables(drawn: bytes) -> str:
    consonants, vowels = "bcdfglmnprstvz", "aeiou"
    number, pairs = int.from_bytes(drawn), []
    for _ in range(10):
        number, consonant = divmod(number, len(consonants))
        number, vowel = divmod(number, len(vowels))
        pairs.append(consonants[consonant] + vowels[vowel])
    return "-".join("".join(pairs[k : k + 2]) for k in range(0, 10, 2))


def administrator(settings: Settings, folder: Folder) -> dict[str, str]:
    """E-mail and password of the first administrator; identity makes the account at its first start
    from the same file."""
    made = made_administrator(folder)
    if made is None:
        made = {"email": settings.admin_email, "password": readable_password()}
        folder.secrets.write(ADMINISTRATOR, json.dumps(made) + "\n")
    return made


def made_administrator(folder: Folder) -> dict[str, str] | None:
    """E-mail and password as the first start made them; None when the file is not there."""
    path = folder.secrets.folder / ADMINISTRATOR
    if not path.exists():
        return None
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def decide(settings: Settings, folder: Folder, *, fresh: bool) -> None:
    """Whether a demonstration is wanted, once: when the stores have just been made."""
    if read(folder):
        return
    if fresh and settings.demo:
        begun = datetime.now(UTC).isoformat()
        _write(folder, {"demonstration": "loading", "begun": begun})
    else:
        nothing_to_load(folder)


def is_to_load(folder: Folder) -> bool:
    """Whether a demonstration is wanted and was not loaded yet, or not to its end."""
    return bool(read(folder)["demonstration"] == "loading")


def nothing_to_load(folder: Folder) -> None:
    """No demonstration is wanted, as in stores that come from a backup."""
    _write(folder, {"demonstration": "none"})


async def load_demonstration(settings: Settings, folder: Folder) -> None:
    """Loads the demonstration centre, or goes on with it, and keeps its sign-ins. Raises
    StepError."""
    begun = read(folder).get("begun")
    if begun is None or datetime.now(UTC) - datetime.fromisoformat(begun) > GOES_ON_FOR:
        nothing_to_load(folder)
        raise steps.StepError(
            "it was broken off too long ago to go on; in an empty folder (DATA=) it is loaded anew"
        )
    order = {
        "address": settings.address,
        "administrator": administrator(settings, folder),
        "secret": folder.secrets.get(DEMONSTRATION),
        "begun": begun,
    }
    sign_ins = await steps.run("demonstration", order, folder.log("supervisor"), within=300.0)
    folder.secrets.write(SIGN_INS, json.dumps(sign_ins, ensure_ascii=False))
    _write(folder, {"demonstration": "loaded"})


def sign_ins(settings: Settings, folder: Folder) -> list[dict[str, str]]:
    """Role, e-mail and password of each sign-in that was made here: the administrator's, and those
    of the demonstration centre."""
    first = {"role": "administrator", **administrator(settings, folder)}
    path = folder.secrets.folder / SIGN_INS
    if not path.exists():
        return [first]
    others: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return [first, *others]


async def holding(settings: Settings, folder: Folder) -> list[bool]:
    """Of each of `sign_ins`, whether its password is still the one that was made here. Raises
    StepError."""
    order = {
        "store": store_url("identity", settings, folder),
        "sign_ins": sign_ins(settings, folder),
    }
    found: list[bool] = await steps.run("holding", order, folder.log("supervisor"))
    return found


def read(folder: Folder) -> dict[str, Any]:
    if not folder.first_start.exists():
        return {}
    found: dict[str, Any] = json.loads(folder.first_start.read_text(encoding="utf-8"))
    return found


def _write(folder: Folder, state: dict[str, Any]) -> None:
    write_private(folder.first_start, json.dumps(state) + "\n")
