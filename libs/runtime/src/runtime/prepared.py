"""Statements that run often: compiled once for each engine, then run by the driver itself.

SQLAlchemy takes 80 µs for a statement that it has compiled already and for the row that comes back,
of which SQLite needs 8; on PostgreSQL it is more than the way to the server and back. So what every
sale and every event runs is built as any other statement, and asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from runtime.types import Json, json_text

Row = Mapping[str, Any]
Process = Callable[[Any], Any]
Statement = sa.Select[*tuple[Any, ...]] | sa.Update | sa.Delete | sa.TextClause


@cache
def dialect_of(name: str) -> Dialect:
    """How statements are written for an engine: SQLite's marks, PostgreSQL's own ``$1``, which
    spares psycopg to look for its names in each of them."""
    if name == "postgresql":
        return PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    return sqlite.dialect(json_serializer=json_text, json_deserializer=from_json)


def run(
    connection: sa.Connection, text: str, parameters: Sequence[Any], *, many: bool = False
) -> Any:
    """Run a statement of the driver's own kind, once or (``many``, SQLite) for each of its
    parameters; gives the driver's cursor.

    Raises what SQLAlchemy raises (IntegrityError and its kind).
    """
    raw = cast("Any", connection.connection.dbapi_connection)
    driver = connection.dialect.loaded_dbapi
    try:
        if connection.dialect.name == "postgresql":
            return driver.RawCursor(raw).execute(text, parameters)
        return raw.executemany(text, parameters) if many else raw.execute(text, parameters)
    except driver.Error as error:
        raise _told(connection, text, error) from error


def _told(connection: sa.Connection, text: str, error: Any) -> Exception:
    """The error as SQLAlchemy would raise it; a connection that is lost by it is not used again."""
    raw = connection.connection.dbapi_connection
    lost = connection.dialect.is_disconnect(error, cast("Any", raw), None)
    if lost:
        connection.invalidate(error)
    told = sa.exc.DBAPIError.instance(
        text,
        None,
        error,
        connection.dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=connection.dialect,
    )
    return cast("Exception", told)


class Prepared:
    """A statement and its parameters by name (`sa.bindparam`), asked with values for them.

    `of` is the statement, or gives that for an engine by its name. Make one for each statement, at
    import or in something that is cached: it holds what was compiled. Rows are plain mappings.

    Each way to ask raises KeyError when a value is missing, TypeError when there is one too many:
    nothing is asked then.
    """

    def __init__(self, of: Statement | Callable[[str], Statement]) -> None:
        self._of = of
        self._compiled: dict[str, _Compiled] = {}

    def all(self, connection: sa.Connection, **values: Any) -> list[Row]:
        """All rows."""
        compiled, cursor = self._asked(connection, values)
        names = compiled.names
        return [dict(zip(names, row, strict=True)) for row in compiled.rows(cursor.fetchall())]

    def first(self, connection: sa.Connection, **values: Any) -> Row | None:
        """The first row, if there is one."""
        compiled, cursor = self._asked(connection, values)
        found = cursor.fetchone()
        if found is None:
            return None
        return dict(zip(compiled.names, compiled.values(found), strict=True))

    def tuples(self, connection: sa.Connection, **values: Any) -> list[tuple[Any, ...]]:
        """All rows, as their values."""
        compiled, cursor = self._asked(connection, values)
        return compiled.rows(cursor.fetchall())

    def scalar(self, connection: sa.Connection, **values: Any) -> Any:
        """The first value of the first row; None when there is none."""
        compiled, cursor = self._asked(connection, values)
        found = cursor.fetchone()
        return None if found is None else compiled.values(found)[0]

    def scalars(self, connection: sa.Connection, **values: Any) -> list[Any]:
        """The first value of each row."""
        return [found[0] for found in self.tuples(connection, **values)]

    def run(self, connection: sa.Connection, **values: Any) -> int:
        """Run it for what it does; how many rows it met."""
        _, cursor = self._asked(connection, values)
        return int(cursor.rowcount)

    def _asked(self, connection: sa.Connection, values: Mapping[str, Any]) -> tuple[_Compiled, Any]:
        engine = connection.dialect.name
        compiled = self._compiled.get(engine)
        if compiled is None:
            of = self._of if isinstance(self._of, sa.Executable) else self._of(engine)
            compiled = self._compiled[engine] = _compile(of, dialect_of(engine))
        if not connection.in_transaction():
            connection.begin()  # as SQLAlchemy does it at the first statement
        return compiled, run(connection, compiled.text, compiled.parameters(values))


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: str
    parameters_of: tuple[tuple[str, Process | None], ...]
    known: frozenset[str]
    fixed: Mapping[str, Any]
    names: tuple[str, ...]
    processes: tuple[tuple[int, Process], ...]

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """In the order of the text, as the driver takes them."""
        if not self.known.issuperset(values):
            raise TypeError(f"no parameters of it: {', '.join(sorted(values.keys() - self.known))}")
        given = {**self.fixed, **values}
        return [
            given[name] if process is None else process(given[name])
            for name, process in self.parameters_of
        ]

    def values(self, found: Sequence[Any]) -> tuple[Any, ...]:
        """What the driver gave, as the columns' types say."""
        if not self.processes:
            return tuple(found)
        row = list(found)
        for index, process in self.processes:
            row[index] = process(row[index])
        return tuple(row)

    def rows(self, found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """`values` of many, column by column."""
        if not self.processes or not found:
            return found
        columns: list[Any] = list(zip(*found, strict=True))
        for index, process in self.processes:
            columns[index] = map(process, columns[index])
        return list(zip(*columns, strict=True))


def _compile(statement: Statement, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    binds = compiled.binds
    processes: list[tuple[int, Process]] = []
    names: list[str] = []
    if isinstance(statement, sa.Select):
        for index, column in enumerate(statement.selected_columns):
            names.append(column.key or str(index))
            process = _out(column.type, dialect)
            if process is not None:
                processes.append((index, process))
    asked = tuple(compiled.positiontup or ())
    return _Compiled(
        text=str(compiled),
        parameters_of=tuple(
            (name, binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in asked
        ),
        known=frozenset(asked),
        fixed={name: binds[name].effective_value for name in asked if not binds[name].required},
        names=tuple(names),
        processes=tuple(processes),
    )


def _out(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    """What makes a value of this type of what the driver gives."""
    if isinstance(kind, Json) and dialect.name == "sqlite":
        return _json  # past three functions of SQLAlchemy
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _json(text: str | None) -> Any:
    return None if text is None else from_json(text)
