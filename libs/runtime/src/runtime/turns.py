"""Whose turn it is to write, and how some share one transaction of SQLite.

Those who wait at the same moment cost one beginning, one commit and one wait for the disk together:
eight tills sold two and a half times as much on a busy disk, and a sale took a third less of the
processor. What holds:

* What one raises undoes its own work alone. Who has written nothing has nothing to undo; else all
  of it is undone, and each is served once more, by himself. (A savepoint for each would have SQLite
  keep all pages twice, in a file as soon as there are some: a tenth of the processor time of a
  sale.)
* Nobody hears anything before all of it is on the disk. One sees what those before him did, as if
  they had been kept already; where the transaction is lost, all hear the same, and nothing is kept.
* They are served in the order in which they came, and whoever does not share is not passed by.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import sqlalchemy as sa

from runtime.failures import breaks_connection

SHARED_BY = 8
SHARED_FOR = 0.005
"""How many share a transaction at most, and seconds after which nobody joins it: who came first
waits for those behind him."""


class Turn:
    """Somebody who waits to write, and what became of it. He waits for `future`: in `loop`, or in a
    thread of his own."""

    def __init__(
        self,
        work: Callable[[sa.Connection], Any],
        future: Future[Any] | asyncio.Future[Any],
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        shares: bool = False,
    ) -> None:
        self.work = work
        self.future = future
        self.loop = loop
        self.shares = shares
        self.since = time.perf_counter()
        self.error: BaseException | None = None
        """What it raised. Its transaction may have gone on without it."""
        self._result: Any = None
        self._context = contextvars.copy_context()

    def run(self, connection: sa.Connection) -> None:
        """The work, in its caller's context."""
        self.error = None
        self._result = self._context.run(self.work, connection)

    def hear(self) -> None:
        """The caller hears what came of it, unless he went away."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self._result)
        elif isinstance(self.error, StopIteration):  # which no future takes
            self.future.set_exception(RuntimeError("StopIteration"))
        else:
            self.future.set_exception(self.error)


def tell(turns: Sequence[Turn]) -> None:
    """All hear what came of theirs; who waits in a loop hears it there, with all others of it."""
    for loop in {turn.loop for turn in turns}:
        theirs = [turn for turn in turns if turn.loop is loop]
        if loop is None:
            _all_hear(theirs)
        else:
            with contextlib.suppress(RuntimeError):  # the loop was closed: they went away
                loop.call_soon_threadsafe(_all_hear, theirs)


def _all_hear(turns: Sequence[Turn]) -> None:
    for turn in turns:
        turn.hear()


class Threads:
    """Threads that do what they are given, in order. An executor makes a future for each piece of
    work, and takes five locks. As with one, who is forgotten without an end leaves no thread."""

    def __init__(self, count: int, name: str) -> None:
        given: _Given = SimpleQueue()
        self._given = given
        self._threads = [
            threading.Thread(target=_work, args=(given,), name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()
        self._ended = weakref.finalize(self, _end, given, count)

    def give(self, work: Callable[[], object]) -> None:
        """Have it done; it must not raise."""
        self._given.put(work)

    def end(self) -> None:
        """What was given is done, and nothing is taken any more."""
        self._ended()
        for thread in self._threads:
            thread.join()


_Given = SimpleQueue[Callable[[], object] | None]


def _work(given: _Given) -> None:
    while (work := given.get()) is not None:
        work()
        del work  # or it would keep its store for as long as nothing else is given


def _end(given: _Given, count: int) -> None:
    for _ in range(count):
        given.put(None)


class Undone(Exception):  # noqa: N818 - it names what happened
    """One of those who share a transaction raised something after he had written: all of it has to
    be undone, and each to be served by himself."""


def beside(connection: sa.Connection, turn: Turn) -> None:
    """A turn in the transaction of another. What it raises before it wrote a row is its own
    `error`. Raised here is what ends the whole transaction: Undone, or what SQLite gave it up for
    (a disk that fails)."""
    driver: Any = connection.connection.dbapi_connection
    before = driver.total_changes
    try:
        turn.run(connection)
    except BaseException as error:
        if breaks_connection(error) or not driver.in_transaction:
            raise
        if driver.total_changes != before:
            raise Undone from error
        turn.error = error
