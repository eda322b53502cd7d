"""What the checks ask of the stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

Stores = Mapping[str, sa.Connection]


def rows(store: sa.Connection, query: str, **values: Any) -> list[Any]:
    return list(store.execute(sa.text(query), values).all())
