"""A small file system for the stores, so that it can be filled without harm to anybody else."""

from __future__ import annotations

import os
import shutil
import subprocess

import psutil  # type: ignore[import-untyped]

from vicinato.folder import Folder

MB = 1024 * 1024
EMPTY = 96 * MB
"""The stores of a small centre, their logs of what is not in them yet, and what a rebuild takes."""

A_REQUEST = 18 * 1024
"""11.4 KB were measured for each fact that a client was told of, most of them sales. Faults take
longer than their plan, and clients go on meanwhile."""


def size_for(minutes: float, rate: float) -> int:
    """Bytes that a run of this length with so many requests a second does not fill by itself."""
    return EMPTY + round(minutes * 60 * rate * A_REQUEST)


class SmallDisk:
    """In memory, mounted on the folder of the stores; only root may do that, and half of the memory
    that is free must be enough: elsewhere `there` is false. (What is killed are processes, never
    the machine: memory is as durable as it must be.)"""

    def __init__(self, folder: Folder, size: int, *, wanted: bool) -> None:
        folder.open()
        self._stores = folder.stores
        fits = size <= psutil.virtual_memory().available // 2
        self.there = wanted and fits and os.geteuid() == 0 and self._mount(size)

    def _mount(self, size: int) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self._stores)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def close(self, *, keep: bool) -> None:
        """Take it away again; what was on it stays in the folder when it is to be kept."""
        if not self.there:
            return
        kept = self._stores.with_name("stores.kept")
        if keep:
            shutil.copytree(self._stores, kept)
        subprocess.run(["umount", str(self._stores)], check=True)
        if keep:
            self._stores.rmdir()
            kept.rename(self._stores)
