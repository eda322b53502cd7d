"""Log files of the children: each written by its process, kept small by us. Nobody ends because a
log cannot be written."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from typing import Any, TextIO

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


def lasting(descriptor: int) -> TextIO:
    """A stream onto an open log, for who must not end when its disk is full."""
    raw = io.BufferedWriter(_Lossy(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)


class _Lossy(io.FileIO):
    """What there is no room for counts as written."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
