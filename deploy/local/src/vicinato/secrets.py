"""Secrets of one installation: made at the first start, readable by their owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


class Secrets:
    """A folder (0700) with one file (0600) for each secret; a secret never changes by itself.

    A folder that cannot be written, such as one mounted into a container, is used as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK):
            folder.chmod(0o700)

    def path(self, name: str) -> Path:
        """The file of the secret `name`, made if it was not there."""
        path = self.folder / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path

    def get(self, name: str) -> str:
        return self.path(name).read_text(encoding="utf-8").strip()


def write_private(path: Path, text: str) -> None:
    """Writes whole or not at all; nobody but the owner can read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
