"""Own events on the bus that the store does not know: adopted (DESIGN §3.8).

A store that was restored from a backup has forgotten its last facts; clients were told of them, and
other services acted on them. The row comes back into the outbox and the state by the service's
``recover`` function. Nothing is emitted: the fact is there already.

What holds: events of one key are adopted in the order of their chain, whatever the partitions in
which they lie (added partitions move keys), because the last row of a key is what the next event is
chained to. One whose ``previous`` is not here yet is kept back, as is one whose ``recover`` misses
something (`NotYet`); while anything is kept back no place moves, so that a crash forgets nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from contracts import Event
from messaging import marks, restoring
from messaging.envelope import Item, Received, Unreadable
from messaging.outcome import ADOPTED
from messaging.reactions import NotYet
from messaging.service import Recover, Service
from messaging.tables import outbox, write_meta
from messaging.transaction import Transaction
from runtime.failures import is_transient
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.store import insert_ignore

log = get_logger()

NOWHERE = -2
"""The offset of what is adopted from elsewhere than the bus: the relay has yet to send it."""

_ENVELOPE = frozenset({"previous", "cause", "era"})


class Adoption:
    """What one reconcile meets. Its memory is only as good as the transactions that it is given:
    after one that failed, begin with a new one."""

    def __init__(self, service: Service, *, now: datetime, ids: Ids) -> None:
        self._service = service
        self._now = now
        self._ids = ids
        self._kept: dict[str, Item] = {}

    @property
    def complete(self) -> bool:
        """Whether nothing is kept back."""
        return not self._kept

    def absorb(self, connection: sa.Connection, items: Sequence[Item]) -> None:
        """Mark known records as sent, adopt unknown ones: in the caller's transaction."""
        wanted = {i.id for i in items} | {i.previous for i in items if i.previous}
        rows = marks.rows_of(connection, sorted(wanted))
        marks.sent(connection, [_sent(rows[i.id], i) for i in items if i.id in rows], {})
        known = set(rows)
        for item in items:
            if item.id in known or item.id in self._kept:
                continue
            if isinstance(item.content, Unreadable):
                log.error("outbox.not_adopted", event_id=item.id, reason=item.content.spoken())
                restoring.note_without_state(connection, item.id, item.type)
            elif isinstance(item.content, Received):
                self._kept[item.id] = item
                if not item.previous or item.previous in known:
                    self._adopt_all(connection, known)

    def finish(self, connection: sa.Connection) -> None:
        """Everything was read: what is still kept back is adopted as it is, the oldest first."""
        known = set(
            marks.rows_of(connection, [i.previous for i in self._kept.values() if i.previous])
        )
        self._adopt_all(connection, known)
        while self._kept:
            oldest = min(self._kept.values(), key=lambda i: (i.record.stamp, i.record.offset))
            self._adopt(connection, oldest, at_last=True)
            known.add(oldest.id)
            self._adopt_all(connection, known)

    def _adopt_all(self, connection: sa.Connection, known: set[str]) -> None:
        """Adopt whatever may be adopted now, as often as that lets another one pass."""
        found = True
        while found:
            found = False
            for item in list(self._kept.values()):
                if (not item.previous or item.previous in known) and self._adopt(connection, item):
                    known.add(item.id)
                    found = True

    def _adopt(self, connection: sa.Connection, item: Item, *, at_last: bool = False) -> bool:
        received = item.content
        assert isinstance(received, Received)
        recover = self._service.recover.get(type(received.event))
        state = "row only"
        if recover is not None:
            try:
                with connection.begin_nested():
                    self._recover(connection, recover, received)
                state = "recovered"
            except Exception as error:
                if is_transient(error):
                    raise
                if isinstance(error, NotYet) and not at_last:
                    return False
                log.exception("outbox.not_recovered", event_id=item.id, event_type=item.type)
                restoring.note_without_state(connection, item.id, item.type)
        del self._kept[item.id]
        insert_ignore(connection, outbox, [_row(item, received)])
        if item.record.offset != NOWHERE:
            (row,) = marks.rows_of(connection, [item.id]).values()
            marks.sent(connection, [_sent(row, item)], {})
        write_meta(connection, ADOPTED, self._now.isoformat())
        log.error(
            "outbox.adopted",
            event_id=received.id,
            event_type=received.type,
            correlation=received.correlation,
            state=state,
        )
        return True

    def _recover(
        self, connection: sa.Connection, recover: Recover, received: Received[Event]
    ) -> None:
        tx = Transaction(
            self._service,
            connection,
            now=received.time,
            ids=self._ids,
            centre=received.centre,
            correlation=received.correlation,
        )
        recover(tx, received)
        tx.flush()


def _row(item: Item, received: Received[Event]) -> Mapping[str, object]:
    record = item.record
    return {
        "id": received.id,
        "topic": received.topic,
        "key": received.key,
        "previous": received.previous,
        "cause": received.cause,
        "type": received.type,
        "headers": {n: value.decode() for n, value in record.headers if n not in _ENVELOPE},
        "body": record.value,
        "at": received.order,
    }


def _sent(row: int, item: Item) -> marks.Sent:
    at = item.record
    return marks.Sent(row, item.id, at.topic, at.partition, at.offset, at.stamp)
