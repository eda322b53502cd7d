"""A disk that takes 5 ms more for each fsync, as that of a parish PC, for a process started so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

MORE = 0.005
"""Seconds, as ``slow_disk.c`` has them."""

_SHIM = Path(__file__).with_suffix(".c")
_FASTEST = """
import os, sys, tempfile, time
def once(file):
    begun = time.perf_counter()
    os.fdatasync(file.fileno())
    return time.perf_counter() - begun
with tempfile.TemporaryFile(dir=sys.argv[1]) as file:
    print(min(once(file) for _ in range(20)))
"""


class NoSlowDisk(Exception):  # noqa: N818 - it names what happened
    """No process of this machine can be given a slower disk; the message says why."""


def variables(folder: Path) -> dict[str, str]:
    """What the environment of a process needs to wait 5 ms more for each fsync; it was tried with
    one. Raises NoSlowDisk."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoSlowDisk("there is no C compiler here")
    library = folder / "slow_disk.so"
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SHIM), "-ldl"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        raise NoSlowDisk("the C compiler here has no headers, or does not build it")
    slow = {"LD_PRELOAD": str(library)}
    if fastest(folder, slow) < MORE:
        raise NoSlowDisk("a library of ours is not loaded here before those of the system")
    return slow


def fastest(folder: Path, more: dict[str, str]) -> float:
    """Seconds of the fastest of twenty ``fdatasync`` in a process with this in its environment."""
    done = subprocess.run(
        [sys.executable, "-c", _FASTEST, str(folder)],
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
