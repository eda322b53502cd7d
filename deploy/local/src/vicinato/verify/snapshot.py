"""A moment of a store, to be looked at and thrown away.

SQLite: a copy made by SQLite's own backup, so that checks may build tables in it without anybody
waiting. PostgreSQL: one repeatable-read transaction that is rolled back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from runtime.store import database_address


class StoreMissingError(Exception):
    """There is no store at that address, or nothing that can be read as one."""


@contextmanager
def snapshot(url: str, scratch: Path) -> Iterator[sa.Connection]:
    """A connection on a moment of the store. What is written there is gone at the end.

    Raises StoreMissingError when the store is not there.
    """
    address = database_address(url)
    if address.get_backend_name() == "postgresql":
        yield from _of_postgresql(address)
    else:
        yield from _of_sqlite(Path(str(address.database)), scratch)


def file_of(store: sa.Connection) -> Path:
    """The file of a snapshot on SQLite."""
    return Path(store.exec_driver_sql("PRAGMA database_list").one().file)


def _of_postgresql(address: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(
        address,
        poolclass=sa.NullPool,
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "options": "-c timezone=UTC"},
    )
    try:
        with engine.connect() as connection:
            try:
                yield connection
            finally:
                connection.rollback()
    except sa.exc.OperationalError as error:
        raise StoreMissingError(f"the database {address.database} does not answer") from error


def _of_sqlite(path: Path, scratch: Path) -> Iterator[sa.Connection]:
    if not path.exists():
        raise StoreMissingError(f"there is no store {path.name}")
    copy = scratch / path.name
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        try:
            source.backup(target)
        except sqlite3.DatabaseError as error:
            raise StoreMissingError(f"the store {path.name} cannot be read: {error}") from error
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(copy, isolation_level=None),
        poolclass=sa.NullPool,
        hide_parameters=True,
    )

    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    sa.event.listen(engine, "begin", begun)
    try:
        with engine.connect() as connection:
            yield connection
            connection.rollback()
    finally:
        engine.dispose()
        copy.unlink()
