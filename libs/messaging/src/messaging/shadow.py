"""Live read models against their rebuild: what `verify` asks of every projection."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from messaging.envelope import Item, Record, decode
from messaging.filling import SLICE, Filler
from messaging.reactions import Projection
from messaging.service import Difference, Service
from messaging.shadow_tables import Shadow


def differences(
    connection: sa.Connection,
    service: Service,
    read_models: Collection[Projection],
    records: Iterable[Record],
) -> dict[Projection, list[Difference]]:
    """Compare live models with their rebuild from `records`, in the caller's transaction; what
    differs is named by its key. Uses tables of its own and removes them."""
    shadow = Shadow(read_models, "verify")
    filler = Filler(shadow)
    shadow.drop(connection)
    shadow.create(connection)
    topics = {e.TOPIC for p in read_models for e in p.events}
    part: list[Item] = []
    size = SLICE[connection.dialect.name]
    for record in records:
        if record.topic not in topics:
            continue
        part.append(decode(record))
        if len(part) == size:
            filler.fill(connection, part)
            part = []
    filler.fill(connection, part)
    filler.finish(connection)
    found = {p: compare(connection, service, shadow, p) for p in read_models}
    shadow.drop(connection)
    return found


def compare(
    connection: sa.Connection, service: Service, shadow: Shadow, read_model: Projection
) -> list[Difference]:
    """Rows of the live tables against those of the shadow, by primary key."""
    found: list[Difference] = []
    name = f"{service.name}.{read_model.name}"
    for table in read_model.tables:
        live = _rows(connection, table)
        rebuilt = _rows(connection, shadow.tables[table.name])
        for key in sorted(live.keys() | rebuilt.keys(), key=str):
            if live.get(key) != rebuilt.get(key):
                columns = _differing(live.get(key), rebuilt.get(key))
                found.append(
                    Difference(
                        check=name,
                        subject=f"{table.name} {'/'.join(map(str, key))}",
                        expected="no row" if key not in rebuilt else f"rebuilt {columns}",
                        found="no row" if key not in live else f"live {columns}",
                    )
                )
    return found


def _rows(connection: sa.Connection, table: sa.Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    keys = [c.name for c in table.primary_key.columns]
    rows = connection.execute(sa.select(table)).mappings()
    return {tuple(row[k] for k in keys): dict(row) for row in rows}


def _differing(one: dict[str, Any] | None, other: dict[str, Any] | None) -> str:
    """Names of columns, not their values, which may be personal."""
    if one is None or other is None:
        return "row"
    return "other " + ", ".join(sorted(k for k in one if one[k] != other.get(k)))
