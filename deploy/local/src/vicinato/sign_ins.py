"""Which passwords that were made on this machine still hold, and as whom a command signs in.

People change their passwords, and nobody tells the files in `secrets/`. So the store of identity is
looked at, with the hashes alone: a sign-in that is only tried would count as a guess.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from vicinato import first_start
from vicinato.folder import Folder
from vicinato.programs.service import store_url
from vicinato.refusals import CommandError, Exit
from vicinato.settings import Settings


def holding(store: str, sign_ins: Sequence[dict[str, str]]) -> list[bool]:
    """Of each e-mail and password, whether somebody can sign in with them now.

    `store` is the address of identity's. Raises sqlalchemy.exc.DBAPIError when it does not answer.
    """
    import sqlalchemy as sa

    from runtime.store import Store

    opened = Store(store, readers=1)
    try:
        rows = opened.read_now(
            lambda c: c.execute(
                sa.text("SELECT email, password_hash FROM account WHERE NOT disabled")
            ).all()
        )
    finally:
        opened.close_now()
    hashes = {row.email: row.password_hash for row in rows}
    return [
        _matches(hashes.get(_stored(one["email"]), ""), one["password"].strip()) for one in sign_ins
    ]


def _stored(email: str) -> str:
    """An address as identity keeps it."""
    return unicodedata.normalize("NFKC", email).strip().lower()


def _matches(stored: str, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def of_a_command(wanted: Settings, folder: Folder) -> dict[str, str]:
    """E-mail and password of whom a command asks as: those of SIGN_IN_FILE; else those that the
    first start made, while they hold; else what is typed on the terminal. Raises CommandError."""
    if wanted.sign_in_file is not None:
        return _of_file(wanted.sign_in_file)
    made = first_start.made_administrator(folder)
    if made is not None and _holds(wanted, folder, made):
        return made
    path = folder.secrets.folder / first_start.ADMINISTRATOR
    english = f"The administrator's password is no longer that of {path}: it was changed."
    italian = f"La password dell'amministratore non è più quella di {path}: è stata cambiata."
    if not sys.stdin.isatty():
        raise CommandError(
            Exit.REFUSED,
            f"{english} On a terminal this command asks for e-mail and password; elsewhere"
            " SIGN_IN_FILE=file says them (README, Settings).",
            f"{italian} Da un terminale il comando chiede e-mail e password; altrimenti"
            " le dice SIGN_IN_FILE=file (README, Settings).",
        )
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(english, markup=False)
    console.print(italian, style="dim", markup=False)
    email = made["email"] if made else wanted.admin_email
    return {
        "email": console.input(f"E-mail [{email}]: ", markup=False).strip() or email,
        "password": console.input("Password: ", password=True),
    }


def _holds(wanted: Settings, folder: Folder, made: dict[str, str]) -> bool:
    from sqlalchemy.exc import DBAPIError

    try:
        (found,) = holding(store_url("identity", wanted, folder), [made])
    except DBAPIError:
        return True  # identity says itself what is wrong with its store
    return found


def _of_file(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"email": str(found["email"]), "password": str(found["password"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            Exit.SETTING,
            f'SIGN_IN_FILE: {path} does not hold {{"email": "…", "password": "…"}}.',
            f'SIGN_IN_FILE: {path} non contiene {{"email": "…", "password": "…"}}.',
        ) from error
