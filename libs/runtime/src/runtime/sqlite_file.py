"""The one file of a store on SQLite, and its connections."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy import event

from runtime.prepared import run
from runtime.types import json_text

KEPT_KB = 8_000
"""Of pages that the writer keeps. What a transaction changes beyond that is written into the log
before its end, and once more when it is changed again: of SQLite's own 2 MB a batch of a rebuild
changes more."""

# The driver asks for an adapter of each value that is no plain number or text, and looked in vain
# in three places: a row of three of these took twice as long as one of three texts.
sqlite3.register_adapter(type(None), lambda nothing: nothing)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)


class SqliteFile:
    """The file, and whether it and those beside it still are the ones that connections are open on.

    SQLite goes on writing into a file that was removed: acknowledged, and lost with the process.
    What the write-ahead log holds can be saved for as long as the writer has it open. Other content
    in the same file, as `cp` makes it, is not noticed: from outside each checkpoint looks the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: int | None = None
        self._beside: tuple[int, int] | None = None
        if not path.exists():
            path.touch(mode=0o600)

    def engine(
        self, busy_timeout_ms: int, *, write: bool, size: int = 1, foreign_keys: bool = True
    ) -> sa.Engine:
        # mode=rw: a file that has gone must not come back empty.
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=busy_timeout_ms / 1000,
                cached_statements=512,
            ),
            poolclass=sa.QueuePool,
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,
            json_serializer=json_text,
            json_deserializer=from_json,
        )

        def connected(connection: sqlite3.Connection, _record: object) -> None:
            self._opened = self.path.stat().st_ino
            connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
            if write:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA secure_delete=ON")
                connection.execute(f"PRAGMA cache_size=-{KEPT_KB}")
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()  # opens the log
                self._beside = self._log_and_index()
            else:
                connection.execute("PRAGMA query_only=ON")

        def begun(connection: sa.Connection) -> None:
            run(connection, "BEGIN IMMEDIATE" if write else "BEGIN", ())

        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", begun)
        return engine

    def replaced(self) -> bool:
        """Whether the file was removed, or is another one."""
        return self._opened is not None and _inode(self.path) != self._opened

    def log_lost(self) -> bool:
        """Whether the write-ahead log or its index was removed, or is another one."""
        return self._beside is not None and self._log_and_index() != self._beside

    def forget(self) -> None:
        """What was opened is being closed: the next connections open what is there then."""
        self._opened = self._beside = None

    def _log_and_index(self) -> tuple[int, int]:
        return _inode(f"{self.path}-wal"), _inode(f"{self.path}-shm")


def _inode(path: str | Path) -> int:
    """The number of a file; 0 when there is none."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - hot
    except FileNotFoundError:
        return 0
