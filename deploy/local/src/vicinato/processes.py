"""Child processes that cannot outlive their parent, and what the system tells of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping

import psutil  # type: ignore[import-untyped]

_SET_PDEATHSIG = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


def die_with_parent(death: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """What a child does before it becomes its program, so that it dies when its parent does.

    Linux only: the kernel sends `death` when the thread that started the child ends, also under
    `kill -9`. Elsewhere None; the next start then cleans up by the written process ids.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: a child must not import
    parent = os.getpid()

    def before_exec() -> None:
        libc.prctl(_SET_PDEATHSIG, int(death))
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return before_exec


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment for a child, with byte code allowed: without it a service needs 2.5 s of
    imports instead of 0.8 s."""
    ours = {"PYTHONDONTWRITEBYTECODE", "VICINATO_NO_SKIPS"}  # no child's: of the run, of tests
    env = {k: v for k, v in os.environ.items() if k not in ours}
    return {**env, "PYTHONUNBUFFERED": "1", **extra}


def memory_pss(pid: int, *, children: bool = True) -> int:
    """Bytes of memory, shared pages counted by their share. 0 if it is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *(process.children(recursive=True) if children else [])]:
            with contextlib.suppress(psutil.Error):
                info = one.memory_full_info()
                total += int(getattr(info, "pss", info.rss))
    return total
