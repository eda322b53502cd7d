"""The services are forked from one process that has imported everything once; so is work that needs
the same libraries.

Six services import the same 80 MB of libraries. Forked from a process that has them, they share the
pages: six take 340 MB instead of 560, and the imports cost their seconds of CPU once instead of six
times. The process is the standard library's fork server. A child dies with the supervisor and with
the fork server. What runs in it is what runs everywhere: `web.serve`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from vicinato.child import Process, Program
from vicinato.logs import lasting
from vicinato.processes import call_ourselves, die_with_parent, environment

PRELOADED = "vicinato.programs.preloaded"


class Forked:
    """A forked service."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        return self._process.exitcode or 0

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int, /) -> None:
        # Not to one that is gone: the id may be somebody else's by now.
        if self._process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


async def fork(program: Program) -> Process:
    """Starts the service that the program is named after, with the program's environment."""
    return await _forked(
        serve, program.name, environment(program.env), str(program.log), name=program.name
    )


async def fork_work(name: str, work: Callable[..., None], *given: Any, log: Path) -> Process:
    """Starts `work`, a function of a module, with what it is given."""
    return await _forked(_do, name, environment({}), str(log), work, given, name=name)


async def _forked(life: Callable[..., None], *given: Any, name: str) -> Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    process = context.Process(target=life, args=given, name=name, daemon=True)
    await asyncio.to_thread(process.start)  # the first one waits for the imports
    return Forked(process)


def serve(service: str, env: Mapping[str, str], log: str) -> None:
    """The child's life; ends it with the exit code of `web.serve`."""
    _begin(service, env, log)
    from web.serve import main

    sys.exit(main([service]))


def _do(
    name: str, env: Mapping[str, str], log: str, work: Callable[..., None], given: Sequence[Any]
) -> None:
    _begin(name, env, log)
    work(*given)


def _begin(name: str, env: Mapping[str, str], log: str) -> None:
    os.setsid()  # Ctrl-C on the terminal is for the supervisor, which stops in order
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ignored by the fork server
    if with_the_fork_server := die_with_parent(os.getppid()):
        with_the_fork_server()
    threading.Thread(target=_die_with_the_supervisor, name="supervisor", daemon=True).start()
    descriptor = os.open(Path(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout, sys.stderr = lasting(1), lasting(2)
    os.environ.clear()
    os.environ.update(env)
    call_ourselves(f"vici-{name}")


def _die_with_the_supervisor() -> None:
    """The fork server lives as long as its children hold it, so they have to watch themselves."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        connection.wait([supervisor.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
