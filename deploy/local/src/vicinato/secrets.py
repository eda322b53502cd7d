"""Secrets of one installation: made at the first start, readable by their owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from vicinato.refusals import CommandError, Exit


class Secrets:
    """A folder (0700) with one file (0600) for each secret; a secret never changes by itself.

    The folder comes with its first secret. One that cannot be written, such as one mounted into a
    container, is used as it is. Unless it `makes` secrets, only those that are there can be had.
    """

    def __init__(self, folder: Path, *, makes: bool = True) -> None:
        self.folder = folder
        self._makes = makes
        if os.access(folder, os.W_OK):
            folder.chmod(0o700)

    def path(self, name: str) -> Path:
        """The file of the secret `name`, made if it was not there. Raises CommandError when it may
        not be made."""
        path = self.folder / name
        if path.exists():
            return path
        if not self._makes:
            raise CommandError(
                Exit.SETTING,
                f"There is no secret {path}, and this is no data folder of Vicinato, in which it"
                " would be made.",
                f"Manca il segreto {path}, e questa non è una cartella di dati di Vicinato,"
                " in cui verrebbe creato.",
            )
        self.write(name, secrets.token_urlsafe(24))
        return path

    def get(self, name: str) -> str:
        """Raises CommandError as `path` does."""
        return self.path(name).read_text(encoding="utf-8").strip()

    def write(self, name: str, text: str) -> None:
        """Puts this secret there, in place of the one that there was."""
        for folder in (*reversed(self.folder.parents), self.folder):
            if not folder.exists():
                folder.mkdir(exist_ok=True, mode=0o700)
        write_private(self.folder / name, text)


def write_private(path: Path, text: str) -> None:
    """Writes whole or not at all; nobody but the owner can read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
