"""Tables that are put away are out of the way at once, and gone soon, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
import sqlalchemy as sa

from messaging.put_away import AT_MOST, PIECE, PREFIX, empty, put_away, rename_index
from runtime.store import Store

METADATA = sa.MetaData()
seen = sa.Table(
    "seen",
    METADATA,
    sa.Column("household", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("words", sa.String(100), nullable=False),
    sa.Index("seen_by_words", "words"),
    sqlite_with_rowid=False,
)
ROWS = 2 * AT_MOST * PIECE + 1


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    made = Store(store_url)
    yield made
    made.close_now()


def fill(connection: sa.Connection) -> None:
    METADATA.create_all(connection)
    rows = [{"household": n % 7, "number": n, "words": f"Salvatore {n}"} for n in range(ROWS)]
    connection.execute(sa.insert(seen), rows)


def names(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


def rows_left(connection: sa.Connection) -> int:
    """In all that is put away."""
    gone = [name for name in names(connection) if name.startswith(PREFIX)]
    return sum(connection.scalar(sa.text(f'SELECT count(*) FROM "{name}"')) or 0 for name in gone)


async def test_its_names_are_free_at_once_and_nothing_of_it_is_left(store: Store) -> None:
    await store.write(fill)
    for _ in range(2):
        await store.write(partial(put_away, table="seen"))
        await store.write(METADATA.create_all)
    await empty(store)
    assert await store.read(names) == {"seen"}
    assert await store.tidy()
    if store.folder is not None:
        for file in store.folder.iterdir():
            assert b"Salvatore" not in file.read_bytes()


async def test_others_write_between(store: Store) -> None:
    await store.write(fill)
    await store.write(partial(put_away, table="seen"))
    emptying = asyncio.create_task(empty(store))
    await asyncio.sleep(0)  # it stands in the queue now
    left = await store.write(rows_left)
    assert left == 0 if store.dialect == "postgresql" else 0 < left < ROWS
    await emptying
    assert await store.read(names) == set()


async def test_what_is_not_there_is_no_reason_to_fail(store: Store) -> None:
    await store.write(partial(put_away, table="seen"))
    await empty(store)
    assert await store.read(names) == set()


async def test_an_index_keeps_what_it_is_under_another_name(store: Store) -> None:
    def rename(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE seen RENAME TO known"))
        rename_index(connection, "seen_by_words", "known_by_words")

    await store.write(fill)
    await store.write(rename)

    def look(connection: sa.Connection) -> None:
        (index,) = sa.inspect(connection).get_indexes("known")
        assert (index["name"], index["column_names"]) == ("known_by_words", ["words"])
        if store.dialect == "sqlite":
            asked = "SELECT 1 FROM known INDEXED BY known_by_words WHERE words = 'Salvatore 5'"
            assert connection.scalar(sa.text(asked)) == 1
            assert connection.scalar(sa.text("PRAGMA integrity_check")) == "ok"

    await store.read(look)
    await store.write(look)


async def test_an_index_that_is_not_there_is_said(store: Store) -> None:
    await store.write(fill)
    with pytest.raises(LookupError if store.dialect == "sqlite" else sa.exc.DBAPIError):
        await store.write(partial(rename_index, name="seen_by_number", to="other"))
    assert await store.read(names) == {"seen"}
