"""The very first start: an administrator, then the demonstration centre. Each once.

`first-start.json` in the data folder remembers how far it came; the passwords lie in `secrets/`.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from vicinato import steps
from vicinato.folder import Folder
from vicinato.programs.service import store_url
from vicinato.secrets import write_private
from vicinato.settings import Settings

ADMINISTRATOR = "first-admin.json"
SIGN_INS = "demonstration-sign-ins.json"


def readable_password() -> str:
    """Ten syllables, 66 bits: can be read out over the telephone."""
    consonants, vowels = "bcdfglmnprstvz", "aeiou"
    pairs = [secrets.choice(consonants) + secrets.choice(vowels) for _ in range(10)]
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


def is_to_load(settings: Settings, folder: Folder, *, fresh: bool) -> bool:
    """Whether it is wanted: the stores were empty, or a load was broken off."""
    state = read(folder)
    if not state:
        state = {"demonstration": "loading" if fresh and settings.demo else "none"}
        _write(folder, state)
    return bool(state["demonstration"] == "loading")


def nothing_to_load(folder: Folder) -> None:
    """The stores come from a backup: nothing of a demonstration is wanted."""
    _write(folder, {"demonstration": "none"})


async def load_demonstration(settings: Settings, folder: Folder) -> None:
    """Loads the demonstration centre and keeps its sign-ins. Raises StepError."""
    order = {"address": settings.address, "administrator": administrator(settings, folder)}
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
