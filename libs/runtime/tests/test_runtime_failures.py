"""The written list of failures that pass by themselves, a test for each row."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from runtime.failures import (
    TRANSIENT_POSTGRESQL,
    TRANSIENT_SQLITE,
    TRANSIENT_SYSTEM,
    StoreClosed,
    StoreGone,
    breaks_connection,
    is_transient,
)
from runtime.store import Store
from runtime.testing import postgresql_database


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("said")
    error.sqlite_errorcode = code
    return error


def postgresql_error(sqlstate: str) -> psycopg.Error:
    error = psycopg.OperationalError("said")
    error.sqlstate = sqlstate
    return error


def wrapped(error: Exception) -> sa.exc.DBAPIError:
    return sa.exc.DBAPIError("SELECT 1", {}, error)


@pytest.mark.parametrize("code", TRANSIENT_SQLITE)
def test_sqlite(code: int) -> None:
    assert is_transient(sqlite_error(code))
    assert is_transient(wrapped(sqlite_error(code | 3 << 8))), "extended codes count as well"


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH]
)
def test_sqlite_answers_about_the_work_are_not_transient(code: int) -> None:
    assert not is_transient(wrapped(sqlite_error(code)))


POSTGRESQL_ROWS = {
    "08": ["08000", "08001", "08003", "08006"],
    "25006": ["25006"],
    "40001": ["40001"],
    "40P01": ["40P01"],
    "53": ["53000", "53100", "53200", "53300"],
    "55P03": ["55P03"],
    "57P": ["57P01", "57P02", "57P03", "57P05"],
    "58": ["58000", "58030"],
}


def test_every_row_has_a_test() -> None:
    assert POSTGRESQL_ROWS.keys() == TRANSIENT_POSTGRESQL.keys()


@pytest.mark.parametrize("sqlstate", [one for row in POSTGRESQL_ROWS.values() for one in row])
def test_postgresql(sqlstate: str) -> None:
    assert is_transient(postgresql_error(sqlstate))
    assert is_transient(wrapped(postgresql_error(sqlstate)))


def test_a_process_without_memory_is_to_blame_and_not_its_work() -> None:
    assert is_transient(MemoryError())


@pytest.mark.parametrize("number", TRANSIENT_SYSTEM)
def test_the_system(number: int) -> None:
    assert is_transient(OSError(number, "said"))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EPIPE])
def test_other_answers_of_the_system_are_not_transient(number: int) -> None:
    assert not is_transient(OSError(number, "said"))


def test_who_can_open_no_connection_tries_again() -> None:
    """A driver that reaches its server and has no descriptor left to wait for it."""
    with postgresql_database() as url:
        store = Store(url)
        with no_file_left() as taken:
            for _ in range(2):
                with pytest.raises((OSError, sa.exc.DBAPIError)) as failed:
                    store.read_now(lambda c: c.scalar(sa.select(1)))
                assert is_transient(failed.value), repr(failed.value)
                os.close(taken.pop())
        assert store.read_now(lambda c: c.scalar(sa.select(1))) == 1
        store.close_now()


@contextmanager
def no_file_left() -> Iterator[list[int]]:
    """This process can open none any more; what is closed of these can be opened again."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        highest = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 4, before[1]))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield taken
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_postgresql_cannot_do_with_its_files_is_of_the_disk() -> None:
    """An answer of the system without an SQLSTATE of its own: a file that leads to itself."""
    with postgresql_database() as url:
        address = url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(address, autocommit=True) as server:
            server.execute("CREATE TABLE kept (n int)")
            asked = "SELECT current_setting('data_directory'), pg_relation_filepath('kept')"
            folder, name = server.execute(asked).fetchone() or ("", "")
            server.execute("CHECKPOINT")
        file = Path(folder, name)
        file.unlink()
        file.symlink_to(file)
        with psycopg.connect(address) as server, pytest.raises(psycopg.InternalError) as caught:
            server.execute("INSERT INTO kept VALUES (1)")
        file.unlink()
        assert caught.value.sqlstate == "XX000"
        assert is_transient(wrapped(caught.value))


@pytest.mark.parametrize("sqlstate", ["23505", "22001", "42P01", "57014", "40002", "XX000"])
def test_postgresql_answers_about_the_work_are_not_transient(sqlstate: str) -> None:
    assert not is_transient(wrapped(postgresql_error(sqlstate)))


def test_a_server_that_is_not_reached_is_transient() -> None:
    engine = sa.create_engine("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(sa.exc.OperationalError) as caught:
        engine.connect()
    assert is_transient(caught.value)


def test_a_store_that_went_away_is_transient() -> None:
    for error in (StoreGone(), StoreClosed(), sa.exc.TimeoutError()):
        assert is_transient(error)


def test_the_cause_counts_but_not_what_was_merely_at_hand() -> None:
    cause = sqlite_error(sqlite3.SQLITE_BUSY)
    because = RuntimeError("because")
    because.__cause__ = cause
    beside = RuntimeError("beside")
    beside.__context__ = cause
    assert is_transient(because)
    assert not is_transient(beside)
    assert not is_transient(ValueError("no"))


def test_a_connection_is_kept_after_a_lock_and_given_up_after_a_disk_error() -> None:
    assert not breaks_connection(wrapped(sqlite_error(sqlite3.SQLITE_BUSY)))
    assert not breaks_connection(wrapped(sqlite_error(sqlite3.SQLITE_CONSTRAINT)))
    assert breaks_connection(wrapped(sqlite_error(sqlite3.SQLITE_IOERR)))
    assert breaks_connection(wrapped(sqlite_error(sqlite3.SQLITE_CORRUPT)))
