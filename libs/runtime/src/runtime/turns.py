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

import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import sqlalchemy as sa

from runtime.failures import breaks_connection

SHARED_BY = 4
SHARED_FOR = 0.005
"""How many share a transaction at most, and seconds after which nobody joins it: who came first
waits for those behind him."""


class Turn:
    """Somebody who waits to write, and what became of it."""

    def __init__(self, work: Callable[[sa.Connection], Any], *, shares: bool) -> None:
        self.work = work
        self.shares = shares
        self.since = time.perf_counter()
        self.error: BaseException | None = None
        """What it raised in a transaction that went on without it."""
        self.future: Future[Any] = Future()
        self._result: Any = None
        self._context = contextvars.copy_context()

    def run(self, connection: sa.Connection) -> None:
        """The work, in its caller's context."""
        self.error = None
        self._result = self._context.run(self.work, connection)

    def tell(self) -> None:
        """The caller hears what came of it."""
        if self.error is None:
            self.future.set_result(self._result)
        else:
            self.future.set_exception(self.error)


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
