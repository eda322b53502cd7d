"""The secrets of a backup, brought into a folder that has no stores of its own.

They lie with what is staged, and go with it when that goes: a house that is made anew in the folder
has no password of an old one. They count from the exchange on.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from vicinato.backup.archive import SECRETS, Backup
from vicinato.folder import Folder
from vicinato.secrets import write_private


def stage(backup: Backup, folder: Folder) -> None:
    """They are made ready beside the folder's own. Within a `place`."""
    with backup.open(SECRETS) as packed, tarfile.open(fileobj=packed, mode="r:gz") as tar:
        tar.extractall(folder.restore, filter="data")


def put(folder: Folder) -> None:
    """They take the places of the folder's own, once the exchange has begun; it may be called again
    until it returns."""
    staged = _staged(folder)
    if not staged.exists():
        return
    for one in (one for one in staged.rglob("*") if one.is_file()):
        name = one.relative_to(staged)
        if _is_in_use(folder, name):
            continue
        own = folder.secrets.folder / name
        own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(own, one.read_text(encoding="utf-8"))
    shutil.rmtree(staged)


def _staged(folder: Folder) -> Path:
    return folder.restore / "secrets"


def _is_in_use(folder: Folder, name: Path) -> bool:
    """Whether a part was made here with its own secret, which no other opens any more."""
    made_with = {"postgresql": folder.postgres, "kafka": folder.kafka}
    part = made_with.get(name.parts[0])
    return part is not None and part.exists()
