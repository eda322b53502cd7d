"""A process whose libraries met the end of its memory ends, and is started again.

Our own work is done whole or not at all, and a request for which there was no memory is answered
with 503. What a library was at when it got none may be half done: a listener that takes nobody any
more, a client that waits for a task which has ended. It says so in the log, or in one of Python's
two last resorts, and goes on (seen in `make chaos`: a service that answered nothing until it was
killed after a minute). Our Kafka's JVM does the same (`ExitOnOutOfMemoryError`).
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading

CODE = errno.ENOMEM
"""With which such a process ends."""

_SENTENCE = b"no memory left, and what a library was doing may be half done: the process ends\n"


def end_without() -> None:
    """From here on this process ends so. Called when logging is configured."""
    logging.getLogger().handlers.insert(0, _Listening())
    threading.excepthook = _in_a_thread
    sys.unraisablehook = _unraisable


class _Listening(logging.Handler):
    """Hears what libraries log, before it is put into words, for which memory is needed."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            _look_at(record.exc_info[1])


def _in_a_thread(args: threading.ExceptHookArgs) -> None:
    _look_at(args.exc_value)
    threading.__excepthook__(args)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    _look_at(args.exc_value)
    sys.__unraisablehook__(args)


def _look_at(error: BaseException | None) -> None:
    while error is not None:
        if isinstance(error, MemoryError):
            os.write(2, _SENTENCE)
            os._exit(CODE)
        error = error.__cause__
