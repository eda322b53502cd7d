"""Where events lie on the bus moves from the outbox to beside it, and back, and nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from messaging import Service, marks
from messaging.catalogue import services
from messaging.marks_beside_the_outbox import __name__ as revised_by
from messaging.tables import outbox
from runtime import migrations
from runtime.store import Store

AT = datetime(2026, 11, 29, tzinfo=UTC)
WHERE = {"e1": (0, 7, 11), "e2": (None, None, None), "e3": (2, 8, 12)}


def before(service: Service) -> str:
    """The revision before the one that moves them."""
    for path in sorted(migrations.versions(service.package).glob("[0-9]*.py")):
        if revised_by.rpartition(".")[2] in path.read_text():
            return f"{int(path.name[:4]) - 1:04d}"
    raise AssertionError(f"{service.name} has no revision that moves them")


def row(event_id: str) -> dict[str, Any]:
    return {"id": event_id, "topic": "t", "key": "k", "type": "x", "headers": {}, "at": AT}


def told_before(connection: sa.Connection) -> None:
    """Three events, as the version before wrote them: the one between was not sent."""
    own = [sa.column(column.name, column.type) for column in outbox.columns]
    old = sa.table("outbox", *own, *map(sa.column, ("partition", "record_offset", "stamp")))
    for event_id, (partition, offset, stamp) in WHERE.items():
        where = {"partition": partition, "record_offset": offset, "stamp": stamp}
        connection.execute(sa.insert(old).values(**row(event_id), **where))


def where(connection: sa.Connection) -> dict[str, tuple[int | None, ...]]:
    """Where each event lies, as the version before reads it."""
    query = 'SELECT id, "partition", record_offset, stamp FROM outbox'
    return {event_id: tuple(at) for event_id, *at in connection.execute(sa.text(query))}


def unsent(connection: sa.Connection) -> list[str]:
    return [one.id for one in marks.unsent(connection, (), 10)]


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_marks_move_and_come_back(service: Service, empty_url: str) -> None:
    package, earlier = service.package, before(service)
    migrations.upgrade(empty_url, package, service.metadata, earlier)
    store = Store(empty_url)
    store.write_now(told_before)

    migrations.upgrade(empty_url, package, service.metadata)
    assert store.read_now(unsent) == ["e2"]
    store.write_now(lambda c: c.execute(sa.insert(outbox), [row("e4"), row("e5")]))
    assert store.read_now(unsent) == ["e2", "e4", "e5"], "who inserts a row need not say so"

    migrations.downgrade(empty_url, package, service.metadata, earlier)
    nowhere = (None, None, None)
    assert store.read_now(where) == WHERE | {"e4": nowhere, "e5": nowhere}

    migrations.upgrade(empty_url, package, service.metadata)
    assert store.read_now(unsent) == ["e2", "e4", "e5"]
    begins = {("t", 2): 9}
    assert store.read_now(lambda c: marks.any_before(c, begins)), "the places came along"
    store.close_now()
