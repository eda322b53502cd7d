"""Who is told when something changes: open inboxes, and the worker that hands e-mails over."""

from __future__ import annotations

import asyncio
import threading

from messaging import Transaction

INBOX = "inbox"
"""The live channel of a household's inbox is ``inbox.<household>``."""


class Bell:
    """Wakes the workers of this process, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleepers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def join(self) -> asyncio.Event:
        """An event of the running loop that is set at each ring, until `leave`."""
        woken = asyncio.Event()
        with self._lock:
            self._sleepers[woken] = asyncio.get_running_loop()
        return woken

    def leave(self, woken: asyncio.Event) -> None:
        with self._lock:
            self._sleepers.pop(woken, None)

    def ring(self) -> None:
        with self._lock:
            sleepers = list(self._sleepers.items())
        for woken, loop in sleepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)


bell = Bell()


def inbox_changed(tx: Transaction, household_id: str) -> None:
    """Once this is committed, open inboxes of the household are fetched again."""

    def tell() -> None:
        from web import live  # commands must not load the web, which only an application has

        live.publish(INBOX, household_id)

    tx.after_commit(tell)


def mail_waits(tx: Transaction) -> None:
    """Once this is committed, the worker looks for what is due."""
    tx.after_commit(bell.ring)
