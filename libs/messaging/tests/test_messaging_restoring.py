"""A store that was put back names what it could not recover, however often it begins anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa

from contracts.activities import ActivityCreated
from messaging import restoring
from messaging.adoption import Adoption
from messaging.envelope import Received, decode
from messaging.tables import outbox, outbox_sent, outbox_unsent, write_meta
from messaging.transaction import Transaction

from .teller_and_hearer import FACTS, TELLER
from .world import World


def cannot(_tx: Transaction, _received: Received[ActivityCreated]) -> None:
    raise LookupError


def test_what_was_not_recovered_is_named_after_a_crash_as_well(world: World) -> None:
    items = [decode(record) for log in world.log.topics[FACTS] for record in log]
    service = replace(TELLER, recover={ActivityCreated: cannot})

    def put_back(connection: sa.Connection) -> None:
        for table in (outbox_sent, outbox_unsent, outbox):
            connection.execute(sa.delete(table))
        taken_at = datetime(2026, 11, 1, tzinfo=UTC)
        restoring.mark(connection, restoring.Restoring("a-backup", taken_at, 0))

    world.teller.write_now(put_back)
    for _ in range(2):  # the second knows the rows already
        adoption = Adoption(service, now=world.clock.now(), ids=world.ids)
        world.teller.write_now(partial(adoption.absorb, items=items))
    world.teller.write_now(restoring._note)
    world.teller.write_now(partial(write_meta, name=restoring.READY, value="yes"))
    found = world.teller.read_now(restoring.recovered)
    assert found is not None
    assert found.events == {ActivityCreated.ce_type(): 6}
    assert set(found.without_state) == {item.id for item in items}
    world.teller.write_now(restoring.lift)
    assert world.teller.read_now(restoring._without_state) == {}
