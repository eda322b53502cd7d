"""Rows written set by set, on both engines in the same words.

A statement of SQLAlchemy with many rows spends more time on their parameters than the database on
the rows. So each statement is made once, and its rows go to SQLite as plain values, many in one
statement, and to PostgreSQL as one JSON parameter (11 µs of the client's time for a row instead of
44).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from runtime.named import among, array_of
from runtime.prepared import Process, bound, dialect_of, is_together, run, waits
from runtime.types import UtcDateTime, json_text, moment_text

Insert = sqlite.Insert | postgresql.Insert


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in order. One that meets a unique key raises IntegrityError."""
    for batch in _runs(rows):
        _write(connection, _Kind(table, tuple(batch[0])), batch)


def ensure(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """`insert_ignore` for who does not ask how many were new."""
    for batch in _runs(rows):
        _write(connection, _Kind(table, tuple(batch[0]), ignore=True), batch)


def insert_ignore(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert rows, leaving alone those that meet a unique key that is there already. How many were
    new. On PostgreSQL it waits for whoever is inserting the same key, so that of two only one is
    new."""
    return sum(
        _write(connection, _Kind(table, tuple(batch[0]), ignore=True), batch, counted=True)
        for batch in _runs(rows)
    )


def insert_once(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Insert rows; False when a unique key of one is taken already.

    On PostgreSQL this waits for whoever is inserting the same key, so that of two only one is new.
    Where it is written `together` the rows are taken for new: if they are not, all is refused, and
    whoever did it does it anew one by one.
    """
    if is_together(connection):
        insert(connection, table, rows)
        return True
    return insert_ignore(connection, table, rows) == len(rows)


def change(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, key: str
) -> None:
    """Change the columns that are given of the rows that are there; a row that is not is left out.
    The key is a column of texts, and none may come twice."""
    for batch in _runs(rows):
        _write(connection, _Kind(table, tuple(batch[0]), (key,), changes=True), batch)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    newer: str | None = None,
) -> None:
    """Insert rows, or change the columns that are given where the key is there already.

    `newer` names a column that must not shrink (the time of the source's event): what comes late
    does not undo what is newer; at equal values the later call wins. A row there without a value in
    that column (a stub) gives way. The order of `rows` counts as the order of calls.
    """
    for batch in _sets(rows, key=key, newer=newer):
        _write(connection, _Kind(table, tuple(batch[0]), tuple(key), newer), batch)


def add(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
) -> None:
    """Add the columns that are not of the key to what is there; a row that is not there begins."""
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        known = sums.setdefault(tuple([row[name] for name in key]), {})
        for name, value in row.items():
            known[name] = value if name in key else known.get(name, 0) + value
    for batch in _runs(list(sums.values())):
        _write(connection, _Kind(table, tuple(batch[0]), tuple(key), adds=True), batch)


def upsert_statement(
    connection: sa.Connection,
    table: sa.Table,
    columns: Iterable[str],
    *,
    key: Sequence[str],
    newer: str | None = None,
    where: sa.ColumnElement[bool] | None = None,
) -> sqlite.Insert | postgresql.Insert:
    """The statement of `upsert` for rows with these columns.

    `where` says more about the row that is there: one that does not meet it is left alone.
    """
    return _upsert(connection.dialect.name, table, columns, key=key, newer=newer, where=where)


def _upsert(
    dialect: str,
    table: sa.Table,
    columns: Iterable[str],
    *,
    key: Sequence[str],
    newer: str | None,
    where: sa.ColumnElement[bool] | None = None,
) -> Insert:
    return _on_conflict(_insert(dialect, table), table, columns, key, newer, where)


def _on_conflict(
    statement: Insert,
    table: sa.Table,
    columns: Iterable[str],
    key: Sequence[str],
    newer: str | None,
    where: sa.ColumnElement[bool] | None = None,
) -> Insert:
    changed = [name for name in columns if name not in key]
    if not changed:
        return statement.on_conflict_do_nothing(index_elements=list(key))
    if newer is not None:
        grown = sa.or_(table.c[newer].is_(None), table.c[newer] <= statement.excluded[newer])
        where = grown if where is None else sa.and_(where, grown)
    return statement.on_conflict_do_update(
        index_elements=list(key),
        set_={name: statement.excluded[name] for name in changed},
        where=where,
    )


def _insert(dialect: str, table: sa.Table) -> Insert:
    if dialect == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


# one statement for many rows


class _Kind(NamedTuple):
    """What is written: rows of these columns. Without a key they must be new, or are ignored."""

    table: sa.Table
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    newer: str | None = None
    ignore: bool = False
    adds: bool = False
    changes: bool = False

    def change(self, given: Mapping[str, sa.ColumnElement[Any]]) -> sa.Update:
        """Of each row that is there what is not its key."""
        (key,) = self.key
        return (
            sa.update(self.table)
            .where(self.table.c[key] == given[key])
            .values({name: given[name] for name in self.columns if name != key})
        )

    def on_conflict(self, statement: Insert) -> Insert:
        if self.ignore:
            return statement.on_conflict_do_nothing()
        if not self.key:
            return statement
        if self.adds:
            return statement.on_conflict_do_update(
                index_elements=list(self.key),
                set_={
                    name: self.table.c[name] + statement.excluded[name]
                    for name in self.columns
                    if name not in self.key
                },
            )
        return _on_conflict(statement, self.table, self.columns, self.key, self.newer)

    def defaults(self) -> dict[str, Any]:
        """What the table's own columns say where a row says nothing."""
        found = {}
        for column in self.table.columns:
            if column.default is not None and column.name not in self.columns:
                if not isinstance(column.default, sa.ColumnDefault) or not column.default.is_scalar:
                    raise TypeError(f"{column}: only plain values may be defaults")
                found[column.name] = column.default.arg
        return found


@dataclass(frozen=True, slots=True)
class _Written:
    """The text of a statement, and how a row becomes its parameters."""

    text: str
    names: tuple[str, ...]
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    """The values of a row, in the order of the names."""
    processes: tuple[tuple[int, Process], ...]
    defaults: dict[str, Any]

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The values of each row, as the driver takes them."""
        if self.defaults:
            rows = [{**self.defaults, **row} for row in rows]
        found = list(map(self.pick, rows))
        if not self.processes or not found:
            return found
        if len(found) == 1:
            (row,) = map(list, found)
            for index, process in self.processes:
                row[index] = process(row[index])
            return [tuple(row)]
        columns: list[Iterable[Any]] = list(zip(*found, strict=True))
        for index, process in self.processes:
            columns[index] = map(process, columns[index])
        return list(zip(*columns, strict=True))


def _written(
    text: str, names: tuple[str, ...], processes: Mapping[str, Process], defaults: dict[str, Any]
) -> _Written:
    at = tuple((index, processes[name]) for index, name in enumerate(names) if name in processes)
    return _Written(text, names, _picked(names), at, defaults)


def _picked(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    (name,) = names
    return lambda row: (row[name],)


AT_ONCE = (128, 16)
"""Rows of one statement on SQLite. The driver lets other threads run at each statement, also of
`executemany`, and waits for its turn after it: with a busy event loop beside it a row took 22 µs
that takes 13 in a statement of many. Few sizes, so that each is parsed once."""


def _write(
    connection: sa.Connection,
    kind: _Kind,
    rows: Sequence[Mapping[str, Any]],
    *,
    counted: bool = False,
) -> int:
    """How many rows were written, if they are to be `counted`: others may wait (`together`)."""
    if connection.dialect.name == "postgresql":
        prepared = _for_postgresql(kind)
        given = [dict(zip(prepared.names, row, strict=True)) for row in prepared.values(rows)]
        parameters = [json_text(given)]
        if kind.changes:
            parameters.append(array_of([row[kind.key[0]] for row in rows]))
        number = len(rows)
        if not counted and waits(
            connection, kind.table.name, prepared.text, parameters, number=number
        ):
            return 0
        return int(run(connection, prepared.text, parameters, number=number).rowcount)
    one = _for_sqlite(kind, 1)
    values = one.values(rows)
    if kind.changes or len(values) < AT_ONCE[-1]:
        return int(run(connection, one.text, values, many=True).rowcount)
    return set_by_set(connection, lambda size: _for_sqlite(kind, size).text, values)


def set_by_set(
    connection: sa.Connection, text: Callable[[int], str], rows: Sequence[Sequence[Any]]
) -> int:
    """Run a statement of SQLite on rows of parameters, `AT_ONCE` in each: `text` gives it for so
    many rows. How many rows of the store it met."""
    done = met = 0
    for size in AT_ONCE:
        while len(rows) - done >= size:
            some = list(chain.from_iterable(rows[done : done + size]))
            met += run(connection, text(size), some).rowcount
            done += size
    if done < len(rows):
        met += run(connection, text(1), rows[done:], many=True).rowcount
    return met


@lru_cache(maxsize=1_024)
def _for_sqlite(kind: _Kind, size: int) -> _Written:
    """The statement for so many rows."""
    if size > 1:
        one = _for_sqlite(kind, 1)
        group = f"({', '.join('?' * len(one.names))})"
        head, values, tail = one.text.partition(f" VALUES {group}")
        assert values, f"{one.text} has no values of {len(one.names)} parameters"
        return replace(one, text=f"{head} VALUES {', '.join([group] * size)}{tail}")
    dialect = dialect_of("sqlite")
    defaults: dict[str, Any] = {}
    if kind.changes:
        given = {n: sa.bindparam(f"given_{n}", type_=kind.table.c[n].type) for n in kind.columns}
        compiled = kind.change(given).compile(dialect=dialect)
        names = tuple(name.removeprefix("given_") for name in compiled.positiontup or ())
    else:
        defaults = kind.defaults()
        statement = kind.on_conflict(sqlite.insert(kind.table).inline())
        compiled = statement.compile(dialect=dialect, column_keys=[*kind.columns, *defaults])
        names = tuple(compiled.positiontup or ())
    processes: dict[str, Process] = {}
    for name in names:
        process = bound(kind.table.c[name].type, dialect)
        if process is not None:
            processes[name] = process
    return _written(str(compiled), names, processes, defaults)


@lru_cache(maxsize=512)
def _for_postgresql(kind: _Kind) -> _Written:
    defaults = {} if kind.changes else kind.defaults()
    names = (*kind.columns, *defaults)
    columns = [sa.column(name, kind.table.c[name].type) for name in names]
    given = (
        sa.func.json_to_recordset(sa.cast(sa.bindparam("rows", type_=sa.Text), postgresql.JSON))
        .table_valued(*columns)
        .render_derived(name="given", with_types=True)
    )
    statement: Insert | sa.Update
    if kind.changes:
        # The keys once more, as a list: PostgreSQL believes that a hundred rows are given, and of a
        # table of some thousand it would read all.
        keys = among("postgresql", kind.table.c[kind.key[0]])
        statement = kind.change({name: given.c[name] for name in kind.columns}).where(keys)
    else:
        inserted = postgresql.insert(kind.table).from_select(
            list(names), sa.select(*given.c), include_defaults=False
        )
        statement = kind.on_conflict(inserted)
    compiled = statement.compile(dialect=dialect_of("postgresql"))
    assert tuple(compiled.positiontup or ()) == ("rows", "wanted")[: 1 + kind.changes]
    processes: dict[str, Process] = {}
    for name in names:
        column = kind.table.c[name].type
        if isinstance(column, UtcDateTime):
            processes[name] = moment_text
        elif isinstance(column, sa.LargeBinary):
            processes[name] = _hexadecimal
    return _written(str(compiled), names, processes, defaults)


def _hexadecimal(value: bytes | None) -> str | None:
    """Bytes as PostgreSQL reads them out of JSON."""
    return None if value is None else "\\x" + value.hex()


def _runs(rows: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Rows in order, cut where the columns change."""
    if len(rows) == 1 or len(set(map(tuple, rows))) == 1:
        yield list(rows)
        return
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        if batch and batch[0].keys() != row.keys():
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _sets(
    rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], newer: str | None
) -> Iterable[list[Mapping[str, Any]]]:
    """Rows by their columns, one for each key. Only the order within a key counts: where a key
    comes again with other columns, what was before it is given first."""
    identity_of = itemgetter(*key)
    shapes = {tuple(row) for row in rows}
    if len(shapes) == 1:
        yield _last_of_each(rows, identity_of, newer)
        return
    sets: dict[frozenset[str], list[Mapping[str, Any]]] = {}
    shape_of: dict[Any, frozenset[str]] = {}
    for row in rows:
        shape = frozenset(row)
        identity = identity_of(row)
        if shape_of.get(identity, shape) != shape:
            for same in sets.values():
                yield _last_of_each(same, identity_of, newer)
            sets, shape_of = {}, {}
        shape_of[identity] = shape
        sets.setdefault(shape, []).append(row)
    for same in sets.values():
        yield _last_of_each(same, identity_of, newer)


def _last_of_each(
    rows: Iterable[Mapping[str, Any]],
    identity_of: Callable[[Mapping[str, Any]], Any],
    newer: str | None,
) -> list[Mapping[str, Any]]:
    """The row of each key that counts."""
    if newer is None:
        return list({identity_of(row): row for row in rows}.values())
    last: dict[Any, Mapping[str, Any]] = {}
    for row in rows:
        identity = identity_of(row)
        known = last.get(identity)
        if known is None or _not_older(row[newer], known[newer]):
            last[identity] = row
    return list(last.values())


def _not_older(value: Any, than: Any) -> bool:
    return than is None or (value is not None and bool(value >= than))
