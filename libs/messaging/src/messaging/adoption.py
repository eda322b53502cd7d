"""Own events on the bus that the store does not know: adopted (DESIGN §3.8).

A store that was restored from a backup has forgotten its last facts; clients were told of them, and
other services acted on them. The row comes back into the outbox and the state by the service's
``recover`` function. Nothing is emitted: the fact is there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from contracts import Event
from messaging import marks
from messaging.attempt import ADOPTED, Place
from messaging.envelope import Item, Received
from messaging.service import Service
from messaging.tables import outbox, write_meta
from messaging.transaction import Transaction
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.store import insert_ignore

log = get_logger()

_ENVELOPE = frozenset({"previous", "cause", "era"})


def absorb(
    connection: sa.Connection,
    service: Service,
    items: Sequence[Item],
    places: Mapping[tuple[str, int], Place],
    *,
    now: datetime,
    ids: Ids,
) -> None:
    """Mark known records as sent, adopt unknown ones, move the places: one transaction."""
    events = [i for i in items if isinstance(i.content, Received)]
    known = marks.known(connection, [i.id for i in events])
    rows = {
        event_id: row
        for row, event_id in connection.execute(
            sa.select(outbox.c.row, outbox.c.id).where(outbox.c.id.in_(sorted(known)))
        )
    }
    marks.sent(
        connection,
        [
            marks.Sent(
                rows[i.id],
                i.id,
                i.record.topic,
                i.record.partition,
                i.record.offset,
                i.record.stamp,
            )
            for i in events
            if i.id in known
        ],
        {},
    )
    for item in events:
        if item.id not in known and isinstance(item.content, Received):
            known.add(item.id)
            _adopt(connection, service, item, item.content, now=now, ids=ids)
    marks.move(connection, places)


def _adopt(
    connection: sa.Connection,
    service: Service,
    item: Item,
    received: Received[Event],
    *,
    now: datetime,
    ids: Ids,
) -> None:
    headers = {name: value.decode() for name, value in item.record.headers if name not in _ENVELOPE}
    insert_ignore(
        connection,
        outbox,
        [
            {
                "id": received.id,
                "topic": received.topic,
                "key": received.key,
                "previous": received.previous,
                "cause": received.cause,
                "type": received.type,
                "headers": headers,
                "body": item.record.value,
                "at": received.time,
                "partition": received.partition,
                "record_offset": received.offset,
                "stamp": item.record.stamp,
            }
        ],
    )
    write_meta(connection, ADOPTED, now.isoformat())
    recover = service.recover.get(type(received.event))
    if recover is not None:
        tx = Transaction(
            service,
            connection,
            now=received.time,
            ids=ids,
            centre=received.centre,
            correlation=received.correlation,
        )
        recover(tx, received)
        tx.flush()
    log.error(
        "outbox.adopted",
        event_id=received.id,
        event_type=received.type,
        correlation=received.correlation,
        state="recovered" if recover is not None else "row only",
    )
