"""Child processes that cannot outlive their parent, and what the system tells of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Container, Mapping

import psutil  # type: ignore[import-untyped]

_SET_PDEATHSIG = 1  # PR_SET_PDEATHSIG and PR_SET_NAME of <sys/prctl.h>
_SET_NAME = 15


def die_with_parent(parent: int | None = None) -> Callable[[], None] | None:
    """What a child of `parent` (of ours, when none is named) does at its very beginning, so that it
    dies when its parent does.

    Linux only: the kernel kills it when the thread that started it ends, also under `kill -9`.
    Elsewhere None; the next start then cleans up by the written process ids.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: a child must not import
    father = os.getpid() if parent is None else parent

    def at_the_beginning() -> None:
        libc.prctl(_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != father:  # it died between the fork and the line above
            os._exit(1)

    return at_the_beginning


def call_ourselves(name: str) -> None:
    """The name that `ps` and `top` show for this process, as far as the system allows."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_NAME, name.encode()[:15])


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment for a child, with byte code allowed: without it a service needs 2.5 s of
    imports instead of 0.8 s."""
    ours = {"PYTHONDONTWRITEBYTECODE", "VICINATO_NO_SKIPS"}  # no child's: of the run, of tests
    env = {k: v for k, v in os.environ.items() if k not in ours}
    return {**env, "PYTHONUNBUFFERED": "1", **extra}


def memory_pss(pid: int, *, without: Container[int | None] = ()) -> int:
    """Bytes of memory of a process and its descendants, shared pages counted by their share; 0 if
    it is gone. `without`: those (and theirs) that are counted elsewhere."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        info = process.memory_full_info()
        total += int(getattr(info, "pss", info.rss))
        for child in process.children():
            if child.pid not in without:
                total += memory_pss(child.pid, without=without)
    return total
