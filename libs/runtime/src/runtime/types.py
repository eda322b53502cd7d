"""Column types that mean the same on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""For every MetaData: a constraint without a name cannot be changed on SQLite."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, in UTC on the way out; microseconds are kept.

    SQLite holds text of fixed width (2026-11-16T09:00:00.000000Z), so that text order is time
    order. A naive datetime is refused with ValueError.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(27))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "sqlite":
            return moment_text(value)
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "sqlite":
            return moment(value)
        assert isinstance(value, datetime)
        return value.astimezone(UTC)


@lru_cache(maxsize=1_000)
def moment_text(value: datetime | None) -> str | None:
    """A moment as text of fixed width, in UTC. Raises ValueError for one without a zone.

    The same few moments come again and again: those of a batch's rows. Equal moments of two zones
    have one text.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    text = to_json(value.astimezone(UTC)).decode()  # shorter than isoformat takes, and in quotes
    return text[1:-1] if len(text) == _QUOTED else f"{text[1:-2]}.000000Z"


_QUOTED = len('"2026-11-16T09:00:00.000000Z"')


@lru_cache(maxsize=1_000)
def moment(text: str | None) -> datetime | None:
    """The other way round, for the same reason: points of many households expire together."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def json_text(value: Any) -> str:
    """A value as compact JSON; a fifth of the time of the standard library's encoder, which is
    made anew for each value."""
    return to_json(value, inf_nan_mode="constants").decode()


class Json(TypeDecorator[Any]):
    """A dict or a list. None is NULL of SQL. The order of keys is not kept (jsonb)."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.JSON(none_as_null=True))


class Id(TypeDecorator[str]):
    """An id as text of 36 characters."""

    impl = sa.String(36)
    cache_ok = True
