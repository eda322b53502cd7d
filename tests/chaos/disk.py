"""A small file system for the stores, so that it can be filled without harm to anybody else."""

from __future__ import annotations

import os
import shutil
import subprocess

from vicinato.folder import Folder

SIZE = "256m"


class SmallDisk:
    """In memory, mounted on the folder of the stores; only root may do that, elsewhere `there` is
    false. (What is killed are processes, never the machine: memory is as durable as it must be.)"""

    def __init__(self, folder: Folder, *, wanted: bool) -> None:
        folder.open()
        self._stores = folder.stores
        self.there = wanted and os.geteuid() == 0 and self._mount()

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self._stores)]
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
