"""Long lists in parts: by the key of the last row seen, never by a row count.

A row added or removed meanwhile shifts nothing, and the thousandth page costs what the first does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import BaseModel

from runtime.refusals import N_, Invalid

T = TypeVar("T")

LIMIT = 50
MOST = 200


class Page(BaseModel, Generic[T]):
    """A part of a list. ``next`` is what to send as ``after`` for the following part."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True)
class Paging:
    """Where to go on and how much is wanted, as the request said."""

    after: str = ""
    limit: int = LIMIT

    def read(
        self,
        connection: sa.Connection,
        statement: sa.Select[Any],
        *,
        by: Sequence[sa.ColumnElement[Any]],
        show: Callable[[sa.Row[Any]], T],
        newest_first: bool = False,
    ) -> Page[T]:
        """The rows of ``statement`` behind ``after``, ordered by the columns ``by``.

        ``by`` must be unique together (end with the id) and hold no null. Raises Invalid when
        ``after`` was not made here.
        """
        if self.after:
            bounds = sa.tuple_(
                *(sa.literal(v, c.type) for v, c in zip(_decoded(self.after, by), by, strict=True))
            )
            here = sa.tuple_(*by)
            statement = statement.where(here < bounds if newest_first else here > bounds)
        order = [column.desc() if newest_first else column.asc() for column in by]
        keys = [column.label(f"key_{place}") for place, column in enumerate(by)]
        rows = connection.execute(
            statement.add_columns(*keys).order_by(*order).limit(self.limit + 1)
        ).all()
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        last = _encoded(tuple(shown[-1])[-len(by) :]) if more else None
        return Page[T](items=[show(row) for row in shown], next=last)


def paging(
    after: Annotated[str, Query(max_length=500, description="What `next` said.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = LIMIT,
) -> Paging:
    """The dependency that reads ``after`` and ``limit``."""
    return Paging(after, limit)


Paged = Annotated[Paging, Depends(paging)]
"""Parameter type of an endpoint that answers in parts."""


def _encoded(values: Sequence[Any]) -> str:
    plain = [v.isoformat() if isinstance(v, (datetime, date)) else v for v in values]
    text = json.dumps(plain, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(after: str, by: Sequence[sa.ColumnElement[Any]]) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if not isinstance(values, list) or len(values) != len(by):
            raise ValueError(after)
        return [_typed(value, column) for value, column in zip(values, by, strict=True)]
    except (ValueError, TypeError, NotImplementedError) as error:
        raise Invalid(
            "paging.after",
            N_("This place in the list is not known."),
            N_("Begin again from the first page."),
            field="after",
        ) from error


def _typed(value: Any, column: sa.ColumnElement[Any]) -> Any:
    """A value of a key as its column holds it; ValueError when it cannot be one."""
    kind = column.type
    wanted = (kind.impl_instance if isinstance(kind, sa.TypeDecorator) else kind).python_type
    if wanted is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return moment
    if wanted is date:
        return date.fromisoformat(value)
    if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
        raise ValueError(value)
    if (isinstance(value, int) and abs(value) >= 2**63) or "\0" in str(value):
        raise ValueError(value)
    return value
