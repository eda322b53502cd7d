"""The way of statements to PostgreSQL: libpq's own calls, and as few ways as there can be.

A cursor of the driver takes 26 µs of the processor for a statement that is prepared, libpq's call
for it 5; begin and commit are a way to the server and back each. So here a transaction begins on
the way of its first statement, what nobody waits for goes along with what is asked next, and the
last of it with the commit. What holds:

* On one way the server does one after the other, and nothing behind an error, a commit neither.
  Each error is that of its own statement.
* What waits to go along is never kept without having been sent, and is forgotten with its
  transaction. Only where somebody commits through `commit` may anything wait (`keeps`).
* Statements are prepared here, not by the driver, which forgets all of them at each rollback.
  After an error that says that one of them is outdated, all are made anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

SEEN = 5
"""How often a statement comes before it is prepared, and how many are at most, as the driver's."""
KEPT = 100
_COUNTED = 1_000

_OUTDATED = frozenset({"0A000", "26000"})
"""Cached plan must not change result type; no such prepared statement."""


class RefusedLater(Exception):  # noqa: N818 - it names what happened
    """What had waited was refused by the server: ``error`` of the driver is not that of what was
    asked now."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


class Answer:
    """What came of a statement, as of a cursor of the driver."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        return self._rows[0] if self._rows else None


class _Bound(NamedTuple):
    """A statement as libpq takes it; without a name it is not prepared."""

    name: bytes | None
    text: bytes
    values: Sequence[Any] | None
    types: Sequence[int]
    formats: Sequence[int] | None
    later: bool = False


class Wire:
    """One connection of psycopg. ``keeps``: it is one that writes, whose statements are prepared
    and whose transactions end by `commit`."""

    def __init__(self, driver: Any, *, keeps: bool = False) -> None:
        import psycopg
        from psycopg import adapt, generators, pq

        self.driver = driver
        self.keeps = keeps
        self._libpq = driver.pgconn
        self._errors = psycopg.errors
        self._lost = psycopg.OperationalError
        self._text = adapt.PyFormat.AUTO
        self._idle = pq.TransactionStatus.IDLE
        self._status = pq.ExecStatus
        self._generators = generators
        self._transformer: Any = adapt.Transformer(driver)
        self._names: OrderedDict[Any, bytes] = OrderedDict()
        self._seen: dict[Any, int] = {}
        self._made = 0
        self._begin = self._commit = b""
        self._later: list[_Bound] = []
        driver.prepare_threshold = None  # or each rollback would end what is prepared here as well

    def ask(self, text: str, parameters: Sequence[Any], *, prepare: bool = True) -> Answer:
        """Run a statement, behind what waits; in a transaction, unless the driver commits by
        itself. Raises the driver's errors, and RefusedLater."""
        begins = self._libpq.transaction_status == self._idle and not self.driver.autocommit
        bound = self._bound(text, parameters, prepare)
        if not begins and not self._later:
            if bound.name is None:
                found = self._libpq.exec_params(
                    bound.text, bound.values, bound.types, bound.formats
                )
            else:
                found = self._libpq.exec_prepared(bound.name, bound.values, bound.formats)
        else:
            found = self._on_one_way([*self._taken(), bound], begins=begins)
        return self._answer(self._good(found))

    def later(self, text: str, parameters: Sequence[Any], *, prepare: bool = True) -> None:
        """Run a statement before whatever is asked next, or before the commit, which raises
        RefusedLater with its error."""
        assert self.keeps, "who commits would not know of it"
        self._later.append(self._bound(text, parameters, prepare)._replace(later=True))

    def send(self) -> None:
        """Run what waits."""
        if self._later:
            begins = self._libpq.transaction_status == self._idle and not self.driver.autocommit
            self._good(self._on_one_way(self._taken(), begins=begins))

    def forget(self) -> None:
        """The transaction is undone, and with it what waits."""
        self._later.clear()

    def commit(self) -> None:
        """Run what waits, and keep the transaction. Raises the driver's errors: then nothing is
        kept, unless the connection was lost on the way."""
        if self._libpq.transaction_status == self._idle and not self._later:
            return
        self._make_ready()
        if self._later:
            begins = self._libpq.transaction_status == self._idle
            end = _Bound(self._commit, b"", None, (), None)
            found = self._on_one_way([*self._taken(), end], begins=begins)
        else:
            found = self._libpq.exec_prepared(self._commit, None)
        if self._good(found).command_status != b"COMMIT":
            raise self._errors.InFailedSqlTransaction("the transaction had failed: it is undone")

    def _taken(self) -> list[_Bound]:
        waiting, self._later = self._later, []
        return waiting

    def _bound(self, text: str, parameters: Sequence[Any], prepare: bool) -> _Bound:
        """A statement with its values as the driver writes them."""
        transformer = self._transformer
        values = types = formats = None
        if parameters:
            values = transformer.dump_sequence(parameters, [self._text] * len(parameters))
            types, formats = transformer.types, transformer.formats
        types = types or ()
        name = self._name(text, types) if prepare and self.keeps else None
        return _Bound(name, text.encode(), values, types, formats)

    def _name(self, text: str, types: Sequence[int]) -> bytes | None:
        """Under which it is prepared, if it came often enough."""
        key = text, types
        name = self._names.get(key)
        if name is not None:
            self._names.move_to_end(key)
            return name
        seen = self._seen.pop(key, 0) + 1
        if seen <= SEEN:
            if len(self._seen) >= _COUNTED:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = seen
            return None
        if len(self._names) >= KEPT:
            oldest = next(iter(self._names))
            self._good(self._libpq.exec_(b"DEALLOCATE " + self._names[oldest]))
            del self._names[oldest]
        name = self._names[key] = self._prepared(text.encode(), types)
        return name

    def _make_ready(self) -> None:
        if not self._commit:
            self._begin, self._commit = self._prepared(b"BEGIN"), self._prepared(b"COMMIT")

    def _prepared(self, text: bytes, types: Sequence[int] = ()) -> bytes:
        """Prepare a statement, under a name that was not there."""
        self._made += 1
        name = b"kept_%d" % self._made
        self._good(self._libpq.prepare(name, text, types))
        return name

    def _on_one_way(self, statements: Sequence[_Bound], *, begins: bool) -> Any:
        """What came of the last of them. Raises the first error."""
        if begins:
            self._make_ready()
            statements = [_Bound(self._begin, b"", None, (), None), *statements]
        libpq = self._libpq
        results: list[Any] = []
        libpq.enter_pipeline_mode()
        try:
            for one in statements:
                if one.name is None:
                    libpq.send_query_params(one.text, one.values, one.types, one.formats)
                else:
                    libpq.send_query_prepared(one.name, one.values, one.formats)
            libpq.pipeline_sync()
            got = self.driver.wait(self._generators.execute(libpq))
            while got[0].status != self._status.PIPELINE_SYNC:
                results += got
                got = self.driver.wait(self._generators.fetch_many(libpq))
            libpq.exit_pipeline_mode()
        except BaseException:
            self.driver.close()  # nobody knows what it is at
            raise
        for one, result in zip(statements, results, strict=True):
            if result.status == self._status.FATAL_ERROR:
                error = self._error(result)
                raise RefusedLater(error) if one.later else error
        return results[-1]

    def _good(self, result: Any) -> Any:
        if result.status == self._status.FATAL_ERROR:
            raise self._error(result)
        return result

    def _error(self, result: Any) -> Exception:
        error: Exception = self._errors.error_from_result(result, self._transformer.encoding)
        state = getattr(error, "sqlstate", None)
        if state is None or self.driver.closed:
            return self._lost(str(error)) if state is None else error
        if state in _OUTDATED:
            self._names.clear()
            self._seen.clear()
            self._begin = self._commit = b""
        return error

    def _answer(self, result: Any) -> Answer:
        if result.status == self._status.TUPLES_OK:
            count = result.ntuples
            if not count:
                return Answer([], 0)
            self._transformer.set_pgresult(result)
            rows = self._transformer.load_rows(0, count, tuple)
            self._transformer.set_pgresult(None)  # or all of it would be kept until the next
            return Answer(rows, count)
        told = result.command_tuples
        return Answer([], -1 if told is None else told)
