"""Whether the file of a SQLite store is as it was written.

A disk that gives back other bytes than it got is noticed by nobody who copies them. Every page and
row is looked at, and every index is held against its table: where an index has lost a row, a fact
that was settled is not found again and goes in a second time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

LOOK_EVERY = 0.2
"""Seconds, while SQLite says nothing: large stores take a minute."""


def damage_in(path: Path, between: Callable[[], object] = lambda: None) -> str:
    """What SQLite finds first, "" when the file is whole. It is one that nobody has open to write.

    `between` is called every moment; what it raises breaks off.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with (
        closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as store,
        ThreadPoolExecutor(1, thread_name_prefix="damage") as thread,
    ):
        looking = thread.submit(
            lambda: str(store.execute("PRAGMA integrity_check(1)").fetchone()[0])
        )
        try:
            while not wait([looking], LOOK_EVERY).done:
                between()
        except BaseException:
            store.interrupt()
            raise
        try:
            found = looking.result()
        except sqlite3.DatabaseError as error:
            return str(error)
    return "" if found == "ok" else found.strip().splitlines()[-1]
