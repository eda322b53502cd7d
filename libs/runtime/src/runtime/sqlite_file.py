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


class SqliteFile:
    """The file, and whether it still is the one that connections are open on.

    SQLite goes on writing into a file that was removed: acknowledged, and lost with the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: int | None = None
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
            else:
                connection.execute("PRAGMA query_only=ON")

        def begun(connection: sa.Connection) -> None:
            run(connection, "BEGIN IMMEDIATE" if write else "BEGIN", ())

        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", begun)
        return engine

    def replaced(self) -> bool:
        if self._opened is None:
            return False
        try:
            same = os.stat(self.path).st_ino == self._opened  # noqa: PTH116 - hot
        except FileNotFoundError:
            same = False
        if not same:
            self._opened = None
        return not same
