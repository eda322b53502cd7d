"""Rows that a list of ids or other texts names: one parameter, however long the list is.

So a statement is built once, and PostgreSQL keeps its plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from runtime.prepared import Prepared
from runtime.types import json_text


def lock_rows(connection: sa.Connection, table: sa.Table, ids: Iterable[str]) -> None:
    """Lock these rows for the rest of the transaction, in the order of their ids.

    Always the same order, or two replicas deadlock. Nothing to do on SQLite, where the whole store
    is locked. The table must have a primary key of one column.
    """
    wanted = sorted(set(ids))
    if connection.dialect.name != "postgresql" or not wanted:
        return
    _locked(table).run(connection, wanted=wanted)


@lru_cache(maxsize=256)
def _locked(table: sa.Table) -> Prepared:
    (key,) = table.primary_key.columns
    return Prepared(
        lambda dialect: sa.select(key).where(among(dialect, key)).order_by(key).with_for_update()
    )


def among(
    dialect: str, column: sa.ColumnElement[Any], parameter: str = "wanted"
) -> sa.ColumnElement[bool]:
    """`column` is one of the texts of the list that is this parameter: one, however many texts
    they are, so that a statement can be built once."""
    wanted = sa.bindparam(parameter, type_=_Texts)
    if dialect == "postgresql":
        return column == sa.any_(wanted)
    return column.in_(sa.select(sa.func.json_each(wanted).table_valued("value").c.value))


def texts(dialect: str, parameter: str = "wanted") -> sa.TableValuedAlias:
    """The texts of the list that is this parameter as rows, each with its ``value``."""
    wanted = sa.bindparam(parameter, type_=_Texts)
    if dialect == "postgresql":
        return sa.func.unnest(wanted).table_valued("value").render_derived(name="given")
    return sa.func.json_each(wanted).table_valued("value")


class _Texts(TypeDecorator[list[str]]):
    """A list of texts as one parameter: JSON, or how PostgreSQL writes an array (the driver takes
    longer for a list, element by element, than the server for what it looks up). The parameter
    itself is the array: a text that is cast would be read again for each row that is looked at."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else _Array())

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> str:
        assert value is not None
        return json_text(value) if dialect.name == "sqlite" else array_of(value)


class _Array(sa.types.UserDefinedType[str]):
    """An array of texts, as it is written."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_more: Any) -> str:
        return "TEXT[]"


def array_of(texts: Sequence[str]) -> str:
    """Texts as PostgreSQL writes an array of them, with every element quoted
    (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO)."""
    if not texts:
        return "{}"
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(t.replace("\\", "\\\\").replace('"', '\\"') for t in texts)
    return f'{{"{joined}"}}'


def those_of(
    connection: sa.Connection, column: sa.Column[str], values: Iterable[str]
) -> Sequence[str]:
    """Which of these values a column holds. In one query: what is written between two would be
    seen out of order."""
    return _those_of(column).scalars(connection, wanted=list(values))


@lru_cache(maxsize=256)
def _those_of(column: sa.Column[str]) -> Prepared:
    return Prepared(lambda dialect: sa.select(column).where(among(dialect, column)))
