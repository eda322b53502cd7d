"""The sample's tables and wiring."""

from __future__ import annotations

import sqlalchemy as sa
from pydantic import BaseModel

from messaging import Service, Transaction, tables
from runtime.refusals import N_, Refusal
from runtime.types import Id, UtcDateTime

metadata = tables.metadata_with_messaging()

thing = sa.Table(
    "thing",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.String(50), nullable=False),
    sa.Column("cents", sa.Integer, nullable=False),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("centre", sa.String(64), nullable=False),
    sa.Column("correlation", sa.String(64), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)


class Thing(BaseModel):
    """What the sample keeps."""

    id: str
    name: str
    cents: int


def make(tx: Transaction, name: str, cents: int) -> Thing:
    """Keep a thing; "gold" is refused."""
    if name == "gold":
        raise Refusal(
            "thing.too_dear",
            N_("{name} is too dear for us."),
            N_("Take something else."),
            field="name",
            name=name,
        )
    made = Thing(id=tx.ids.new(), name=name, cents=cents)
    tx.connection.execute(
        sa.insert(thing).values(
            **made.model_dump(),
            by=tx.actor,
            centre=tx.centre,
            correlation=tx.correlation,
            at=tx.now,
        )
    )
    return made


SERVICE = Service(
    name="sample",
    prefix="/sample",
    package="web_sample",
    metadata=metadata,
    topics=(),
    routers=("web_sample.edge:api", "web_sample.edge:pages"),
)
