"""Long work that ends in order when it is broken off, by Ctrl-C or as the machine shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

Between = Callable[[], None]
"""To be called between two pieces of work; raises BrokenOffError when there is to be no other."""


class BrokenOffError(Exception):
    """Somebody asked for the end; what was begun is put in order."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, where SIGTERM and SIGHUP are heard as Ctrl-C is: the work is cancelled.

    Raises BrokenOffError.
    """

    async def heard() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` stays what it is
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(heard())
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        raise BrokenOffError from error


async def in_thread(work: Callable[[Between], T]) -> T:
    """`work` in a thread. Cancelled, it returns once the thread has come to its next piece: nobody
    puts in order what a thread still writes."""
    stopping = threading.Event()

    def between() -> None:
        if stopping.is_set():
            raise BrokenOffError

    thread = asyncio.ensure_future(asyncio.to_thread(work, between))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        stopping.set()
        while not thread.done():
            with contextlib.suppress(asyncio.CancelledError):  # impatience
                await asyncio.wait({thread})
        thread.exception()
        raise
