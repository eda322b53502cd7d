"""A disk that takes as long for each fsync as is said while the house is at work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_SHIM = Path(__file__).with_suffix(".c")


class SlowDisk:
    """Of every process that is started with `variables`. Where no library can be built, because
    there is no C compiler, `there` is false."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "disk"
        self._library = folder / "slow_disk.so"
        compiler = shutil.which("cc")
        words = [str(compiler), "-shared", "-fPIC", "-O1", "-o", str(self._library), str(_SHIM)]
        self.there = (
            compiler is not None
            and subprocess.run([*words, "-ldl"], capture_output=True, check=False).returncode == 0
        )

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of a process needs."""
        if not self.there:
            return {}
        return {"LD_PRELOAD": str(self._library), "CHAOS_DISK": str(self._said)}

    def take(self, seconds: float) -> None:
        """So much longer for each fsync from now on."""
        part = self._said.with_name("disk.part")
        part.write_text(str(round(1000 * seconds)), encoding="ascii")
        part.replace(self._said)
