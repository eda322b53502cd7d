"""A teller and a hearer, as small as services can be (`world`).

The teller says facts. The hearer's policy writes each down without any key of its own that would
hide a second effect, and answers with a fact, which the hearer's own topic carries.
"""

from __future__ import annotations

import sqlalchemy as sa

from contracts.activities import ActivityCreated
from contracts.network import NeedRecorded
from messaging import Policies, Projection, ProjectionTransaction, Received, Service
from messaging.tables import metadata_with_messaging
from messaging.transaction import Transaction
from runtime.store import insert_ignore

FACTS = ActivityCreated.TOPIC
ANSWERS = NeedRecorded.TOPIC

SAYING = metadata_with_messaging()
said = sa.Table(
    "said",
    SAYING,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("key", sa.String, nullable=False),
)
HEARING = metadata_with_messaging()
heard = sa.Table(
    "heard",
    HEARING,
    sa.Column("turn", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
)
counted = sa.Table(
    "counted",
    HEARING,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, index=True),
    sa.Column("ids", sa.Text, nullable=False),
)
POLICIES = Policies()
COUNTED = Projection("counted", version=1, tables=(counted,))


@POLICIES.on(ActivityCreated)
def hear(tx: Transaction, received: Received[ActivityCreated]) -> None:
    tx.collect(heard, {"event_id": received.id, "key": received.key})
    tx.emit(
        NeedRecorded(
            need_id=received.key, centre_id="c", zone="z", area="a", recorded_at=received.time
        )
    )


@COUNTED.on(ActivityCreated)
def count(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    table = p.table(counted)
    key = received.key
    was = p.connection.execute(sa.select(table).where(table.c.key == key)).first()
    number, ids = (was.number, f"{was.ids} {received.id}") if was else (0, received.id)
    p.upsert(table, {"key": key, "number": number + 1, "ids": ids}, key=("key",))


def said_again(tx: Transaction, received: Received[ActivityCreated]) -> None:
    insert_ignore(tx.connection, said, [{"event_id": received.id, "key": received.key}])


def heard_again(tx: Transaction, received: Received[NeedRecorded]) -> None:
    tx.connection.execute(sa.insert(heard).values(event_id=received.cause, key=received.key))


TELLER = Service(
    name="activities",
    prefix="/activities",
    package="activities",
    metadata=SAYING,
    topics=(FACTS,),
    recover={ActivityCreated: said_again},
)
HEARER = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=HEARING,
    topics=(ANSWERS,),
    policies=POLICIES,
    projections=(COUNTED,),
    recover={NeedRecorded: heard_again},
)
