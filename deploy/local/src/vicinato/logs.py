"""Log files of the children: each written by its process, kept small by us."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

MOST = 5_000_000
KEEP = 3


def rotate(path: Path, most: int = MOST, keep: int = KEEP) -> bool:
    """Moves what was written aside once it is more than `most` bytes: `x.log.1` is the youngest of
    `keep`. The file is copied and cut, so the writer (in append mode) need not open it anew. Raises
    OSError when there is no room for the copy; all are then as they were."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > most:
            copied = path.with_name(f"{path.name}.part")
            try:
                shutil.copyfile(path, copied)
            except OSError:
                copied.unlink(missing_ok=True)
                raise
            for number in range(keep - 1, 0, -1):
                older = _numbered(path, number)
                if older.exists():
                    older.replace(_numbered(path, number + 1))
            copied.replace(_numbered(path, 1))
            with path.open("r+b") as file:
                file.truncate(0)
            return True
    return False


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
