"""Which errors pass by themselves: the written list.

Transient means: the store or the way to it is at fault, not what was asked, so the same work may
be tried again as it is, for ever, and nothing is set aside. Everything else is an answer about the
work. `TRANSIENT_SQLITE`, `TRANSIENT_POSTGRESQL` and `TRANSIENT_SYSTEM` are that list; each row has
a test.
"""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Iterator

import sqlalchemy.exc

TRANSIENT_SQLITE: dict[int, str] = {
    sqlite3.SQLITE_BUSY: "another process holds the write lock",
    sqlite3.SQLITE_LOCKED: "a table is locked by another connection",
    sqlite3.SQLITE_NOMEM: "no memory left",
    sqlite3.SQLITE_READONLY: "the disk was mounted read-only, or the file lost its permissions",
    sqlite3.SQLITE_IOERR: "the disk answers with errors",
    sqlite3.SQLITE_CORRUPT: "the file is damaged and waits for a restore",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "the locks of the write-ahead log could not be had",
    sqlite3.SQLITE_NOTADB: "the file is no database, and waits for a restore",
}
"""Primary result codes of SQLite (the low 8 bits), https://sqlite.org/rescode.html."""

TRANSIENT_POSTGRESQL: dict[str, str] = {
    "08": "the connection failed (class 08)",
    "25006": "the server is read-only, as a standby is",
    "40001": "serialisation failure",
    "40P01": "deadlock",
    "53": "no disk, memory or connections left (class 53)",
    "55P03": "a lock was not to be had in time",
    "57P": "the server stops, starts or drops the connection (57P01 to 57P05)",
    "58": "system error around the server (class 58)",
}
"""SQLSTATEs or their beginnings, PostgreSQL appendix A. 57014 (a statement that took too long) is
not among them: it is the fault of the statement, and would stop everything behind it for ever."""

TRANSIENT_SYSTEM: dict[int, str] = {
    errno.EMFILE: "the process may open no file and no connection more",
    errno.ENFILE: "the machine may open none",
    errno.ENOMEM: "no memory left",
    errno.ENOBUFS: "no memory left for connections",
}
"""What the system answers to a driver that opens a connection, which hands it on as it is (seen:
`make chaos`, a server that went away while a process could open nothing)."""

FILES_OF_POSTGRESQL = ("md.c", "fd.c")
"""The server's sources that read and write its files. What the system answers there and has no
SQLSTATE of its own (a quota, a limit on the size of files) comes as XX000, an internal error; it is
of the disk all the same (seen: `make chaos`)."""


class StoreGone(Exception):  # noqa: N818 - named as the staff would
    """A file of the store is not the one that was opened: removed, or another in its place."""


class StoreClosed(Exception):  # noqa: N818
    """The process is stopping; the store takes no more work."""


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later, unchanged. Looks through wrapped errors."""
    return any(_is_transient(link) for link in _links(error))


def breaks_connection(error: BaseException) -> bool:
    """Whether the connection on which this happened should not be used again."""
    for link in _links(error):
        if isinstance(link, sqlite3.Error):
            code = getattr(link, "sqlite_errorcode", 0) & 0xFF
            return code in TRANSIENT_SQLITE and code not in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
                sqlite3.SQLITE_FULL,
            )
    return False


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, (StoreGone, StoreClosed, sqlalchemy.exc.TimeoutError, MemoryError)):
        return True  # the driver of SQLite tells NOMEM as Python does
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        return bool(error.connection_invalidated)
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in TRANSIENT_SQLITE
    if isinstance(error, OSError):
        return error.errno in TRANSIENT_SYSTEM
    psycopg = sys.modules.get("psycopg")  # 10 MB that a house on SQLite does without
    if psycopg is not None and isinstance(error, psycopg.Error):
        if error.sqlstate is None:
            # libpq gives no SQLSTATE when it never reached the server or lost it on the way.
            return isinstance(error, psycopg.OperationalError)
        if error.sqlstate == "XX000":
            return str(error.diag.source_file) in FILES_OF_POSTGRESQL
        return bool(error.sqlstate.startswith(tuple(TRANSIENT_POSTGRESQL)))
    return False


def _links(error: BaseException) -> Iterator[BaseException]:
    """The error, what the driver said, and what it was raised from (not merely raised during)."""
    link: BaseException | None = error
    while link is not None:
        yield link
        original = getattr(link, "orig", None)
        link = original if isinstance(original, BaseException) else link.__cause__
