"""What clients were told, kept outside the system: JSON lines, on the disk before they count.

Steps of an operation: ``asked`` (before the first request), then one of ``told`` (a good answer),
``refused`` (an answer that says no) or ``unknown`` (no answer in a long time).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Record:
    """Appends to a file; ``keep`` returns when the line is on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def keep(self, step: str, kind: str, op: str, **fields: Any) -> None:
        line = {"at": round(time.time(), 3), "step": step, "kind": kind, "op": op, **fields}
        await asyncio.to_thread(self._write, json.dumps(line).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        os.write(self._file, line)
        os.fdatasync(self._file)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All that was kept, in order."""
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    def close(self) -> None:
        os.close(self._file)
