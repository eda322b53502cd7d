"""Statements that run often: compiled once for each engine, then run by the driver itself.

SQLAlchemy takes 80 µs for a statement that it has compiled already and for the row that comes back,
of which SQLite needs 8; on PostgreSQL it is more than the way to the server and back. So what every
sale and every event runs is built as any other statement, and asked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any, cast

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from runtime.failures import is_transient
from runtime.types import Json, UtcDateTime, json_text, moment, moment_text
from runtime.wire import RefusedLater, Wire

Row = Mapping[str, Any]
Process = Callable[[Any], Any]
Statement = (
    sa.Select[*tuple[Any, ...]]
    | sa.CompoundSelect[*tuple[Any, ...]]
    | sa.Update
    | sa.Delete
    | sa.TextClause
)


@cache
def dialect_of(name: str) -> Dialect:
    """How statements are written for an engine: SQLite's marks, PostgreSQL's own ``$1``, which
    spares psycopg to look for its names in each of them."""
    if name == "postgresql":
        return PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    return sqlite.dialect(json_serializer=json_text, json_deserializer=from_json)


FEW = 16
"""Texts or rows that a statement of PostgreSQL is given at most for its plan to be kept. The server
plans a statement that comes again and again for whatever it may be given, and keeps that plan until
it has counted the table anew, up to a minute later: what a batch names was looked for in the inbox
by reading all of it, each row against each of the texts, when a store that had just been opened
took 30,000 events (757 a second; four fifths of the server's time). To plan it takes 0.1 ms, which
is little for many and much for one."""


def run(
    connection: sa.Connection,
    text: str,
    parameters: Sequence[Any],
    *,
    many: bool = False,
    number: int = 1,
) -> Any:
    """Run a statement of the driver's own kind, once or (``many``, SQLite) for each of its
    parameters; gives the driver's cursor. ``number`` says how many texts or rows it is given: for
    more than `FEW` PostgreSQL plans it anew.

    Raises what SQLAlchemy raises (IntegrityError and its kind).
    """
    if connection.dialect.name == "postgresql":
        send_waiting(connection)
    return run_at_once(connection, text, parameters, many=many, number=number)


def run_at_once(
    connection: sa.Connection,
    text: str,
    parameters: Sequence[Any],
    *,
    many: bool = False,
    number: int = 1,
) -> Any:
    """`run`, before what waits to be written `together`."""
    try:
        if connection.dialect.name == "postgresql":
            return wire_of(connection).ask(text, parameters, prepare=number <= FEW)
        raw: Any = connection.connection.dbapi_connection
        return raw.executemany(text, parameters) if many else raw.execute(text, parameters)
    except (connection.dialect.loaded_dbapi.Error, RefusedLater) as error:
        raise _told(connection, text, error) from error


def _told(connection: sa.Connection, text: str, error: Any) -> Exception:
    """The error as SQLAlchemy would raise it; a connection that is lost by it is not used again."""
    if isinstance(error, RefusedLater):
        return _refused(_told(connection, text, error.error))
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


_WIRE = "runtime.wire"
"""Under which name a connection keeps its way to PostgreSQL."""


def wire_of(connection: sa.Connection) -> Wire:
    """The way of this connection to PostgreSQL."""
    info, driver = connection.info, connection.connection.dbapi_connection
    wire: Wire | None = info.get(_WIRE)
    if wire is None or wire.driver is not driver:
        wire = info[_WIRE] = Wire(driver)
    return wire


def ends_through_wire(engine: sa.Engine) -> None:
    """The transactions of this engine of PostgreSQL, which writes, end on the way of what waits."""

    def connected(driver: Any, record: Any) -> None:
        record.info[_WIRE] = Wire(driver, keeps=True)

    def ending(connection: sa.Connection) -> None:
        send_waiting(connection)
        try:
            wire_of(connection).commit()
        except (connection.dialect.loaded_dbapi.Error, RefusedLater) as error:
            raise _told(connection, "COMMIT", error) from error

    def undone(connection: sa.Connection) -> None:
        if not connection.invalidated:  # else what waited is lost with it
            wire_of(connection).forget()

    event.listen(engine, "connect", connected)
    event.listen(engine, "before_cursor_execute", _all_sent)
    event.listen(engine, "commit", ending)
    event.listen(engine, "rollback", undone)


def _all_sent(connection: sa.Connection, *_what: object) -> None:
    """Whoever asks past this module finds what was written `together` as well."""
    send_waiting(connection)
    try:
        wire_of(connection).send()
    except (connection.dialect.loaded_dbapi.Error, RefusedLater) as error:
        raise _told(connection, "", error) from error


@dataclass(slots=True)
class _Waiting:
    """Writes that go to the server together."""

    tables: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)
    number: int = 0


_WAITING = "runtime.waiting"
_ONE_BY_ONE = "runtime.one_by_one"
"""Under which names a connection keeps them, and that nothing may wait."""


class RefusedTogether(Exception):  # noqa: N818 - it names what happened
    """Some of the rows that were written `together` were refused. Which, and what it means, is
    found out by doing all anew `one_by_one`. `table` is that whose rule was broken, where the
    server says so."""

    def __init__(self, table: str | None = None) -> None:
        super().__init__(table)
        self.table = table


def together(connection: sa.Connection, *, later: bool = False) -> AbstractContextManager[None]:
    """Sets of rows that are written within (`runtime.rows`) go to PostgreSQL as one statement: at
    the end, or before anything else is asked. The way to the server and back is most of what each
    of them takes. What is refused is raised then (RefusedTogether), and not where it was written.
    With ``later`` the statement goes on the way of what is asked next, or of the commit.
    SQLite is at hand: there all is as without.
    """
    if connection.dialect.name != "postgresql":
        return _AT_HAND
    info = connection.info
    return _AT_HAND if _WAITING in info or _ONE_BY_ONE in info else _together(connection, later)


_AT_HAND = nullcontext()


@contextmanager
def _together(connection: sa.Connection, later: bool) -> Iterator[None]:
    info = connection.info
    info[_WAITING] = _Waiting()
    try:
        yield
        send_waiting(connection, later=later)
    finally:
        info.pop(_WAITING, None)


@contextmanager
def one_by_one(connection: sa.Connection) -> Iterator[None]:
    """Within, nothing waits for what is written `together`: each write says itself what it met."""
    info = connection.info  # of a connection that was lost meanwhile it could not be asked
    info[_ONE_BY_ONE] = True
    try:
        yield
    finally:
        info.pop(_ONE_BY_ONE, None)


def is_together(connection: sa.Connection) -> bool:
    """Whether what is written now waits for more."""
    return connection.dialect.name == "postgresql" and _WAITING in connection.info


def waits(
    connection: sa.Connection, table: str, text: str, parameters: Sequence[Any], *, number: int
) -> bool:
    """Let a write of so many rows of a table wait, if what is written now goes `together`: whether
    it does. A table comes once in a statement, which sees no row as it leaves it."""
    waiting: _Waiting | None = connection.info.get(_WAITING)
    if waiting is None:
        return False
    if table in waiting.tables:
        send_waiting(connection)
    waiting.tables.add(table)
    waiting.texts.append(text)
    waiting.parameters += parameters
    waiting.number = max(waiting.number, number)
    return True


def send_waiting(connection: sa.Connection, *, later: bool = False) -> None:
    """Write what waits, before something else is asked; ``later`` on the way of that. Raises
    RefusedTogether."""
    waiting: _Waiting | None = connection.info.get(_WAITING)
    if waiting is None or not waiting.texts:
        return
    text, parameters, number = _joined(tuple(waiting.texts)), waiting.parameters, waiting.number
    waiting.tables, waiting.texts, waiting.parameters, waiting.number = set(), [], [], 0
    if later and (wire := wire_of(connection)).keeps:
        wire.later(text, parameters, prepare=number <= FEW)
        return
    try:
        run_at_once(connection, text, parameters, number=number)
    except sa.exc.DBAPIError as error:
        raise _refused(error) from error


def _refused(error: Exception) -> Exception:
    """What is said of an error of rows that were written `together`."""
    if is_transient(error):
        return error
    said = getattr(getattr(error, "orig", None), "diag", None)
    return RefusedTogether(getattr(said, "table_name", None))


@lru_cache(maxsize=1_024)
def _joined(texts: tuple[str, ...]) -> str:
    """One statement of several, with their parameters one after the other.

    Written from the last to the first: the server begins with what stands at the end and goes
    backwards, so that rows of several tables are locked in the order in which they were written
    here, as by statements of their own. PostgreSQL promises no order (a test looks); where it had
    another one, two replicas could get in each other's way, and one of them would begin anew.
    """
    moved: list[str] = []
    before = 0
    for text in texts:
        numbers = [int(number) for number in _PARAMETER.findall(text)]
        moved.append(_PARAMETER.sub(partial(_renumbered, by=before), text))
        before += max(numbers, default=0)
    first, *others = moved
    if not others:
        return first
    named = ", ".join(f"w{at} AS ({text})" for at, text in enumerate(reversed(others)))
    return f"WITH {named} {first}"


def _renumbered(parameter: re.Match[str], by: int) -> str:
    return f"${int(parameter[1]) + by}"


_PARAMETER = re.compile(r"\$(\d+)")


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

    def later(self, connection: sa.Connection, **values: Any) -> None:
        """Run it on the way of what is asked next, or of the commit, where the connection has such
        (PostgreSQL, to write); else now. Of its errors none may be for the caller to answer."""
        if connection.dialect.name != "postgresql" or not (wire := wire_of(connection)).keeps:
            self.run(connection, **values)
            return
        compiled = self._ready(connection)
        send_waiting(connection, later=True)
        wire.later(compiled.text, compiled.parameters(values))

    def _asked(self, connection: sa.Connection, values: Mapping[str, Any]) -> tuple[_Compiled, Any]:
        compiled = self._ready(connection)
        parameters = compiled.parameters(values)
        if connection.dialect.name != "postgresql":
            return compiled, run_at_once(connection, compiled.text, parameters)
        number = max((len(v) for v in values.values() if isinstance(v, list | tuple)), default=1)
        return compiled, run(connection, compiled.text, parameters, number=number)

    def _ready(self, connection: sa.Connection) -> _Compiled:
        """What is asked of this engine, in a transaction."""
        engine = connection.dialect.name
        compiled = self._compiled.get(engine)
        if compiled is None:
            of = self._of if isinstance(self._of, sa.Executable) else self._of(engine)
            compiled = self._compiled[engine] = _compile(of, dialect_of(engine))
        if not connection.in_transaction():
            connection.begin()  # as SQLAlchemy does it at the first statement
        return compiled


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
    if isinstance(statement, sa.Select | sa.CompoundSelect):
        for index, column in enumerate(statement.selected_columns):
            names.append(column.key or str(index))
            process = _out(column.type, dialect)
            if process is not None:
                processes.append((index, process))
    asked = tuple(compiled.positiontup or ())
    return _Compiled(
        text=str(compiled),
        parameters_of=tuple((name, bound(binds[name].type, dialect)) for name in asked),
        known=frozenset(asked),
        fixed={name: binds[name].effective_value for name in asked if not binds[name].required},
        names=tuple(names),
        processes=tuple(processes),
    )


def bound(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    """What makes what the driver takes of a value of this type. Where it is a function of ours, it
    is called as it is: past two of SQLAlchemy, of which each takes as long."""
    if dialect.name == "sqlite":
        if isinstance(kind, UtcDateTime):
            return moment_text
        if isinstance(kind, Json):
            return _json_text
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _out(kind: TypeEngine[Any], dialect: Dialect) -> Process | None:
    """What makes a value of this type of what the driver gives; as with `bound`."""
    if dialect.name == "sqlite":
        if isinstance(kind, UtcDateTime):
            return moment
        if isinstance(kind, Json):
            return _json
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _json_text(value: Any) -> str | None:
    return None if value is None else json_text(value)


def _json(text: str | None) -> Any:
    return None if text is None else from_json(text)
