"""Tables of the network, and how its aggregates are loaded and saved.

What people write (notes, reasons of an override) lies in ``referral_text`` alone and is read by one
function alone, `read_texts`, which writes the row of the audit log in the same breath: there is no
reading without a trace. Tables that end in ``_seen`` or ``_known`` are filled by projections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from messaging import Transaction, tables
from network.domain.referral import CLOSED, Action, Referral, Side, State
from runtime.ids import Ids
from runtime.store import lock_rows
from runtime.types import Id, Json, UtcDateTime

metadata = tables.metadata_with_messaging()

Row = Mapping[Any, Any]
"""A row by the names of its columns."""

CODE = sa.String(40)
CENTRE = sa.String(64)
"""Ids that others make: up to 64 characters (``contracts.Id``); the empty one means none."""

organisation = sa.Table(
    "organisation",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", CENTRE, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("phone", sa.String(40), nullable=False),
    sa.Column("website", sa.String(500), nullable=False),
    sa.Column("areas", Json, nullable=False),
    sa.Column("zones", Json, nullable=False),
    sa.Column("languages", Json, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("organisation_by_name", "centre_id", "name", "id"),
)

organisation_reach = sa.Table(
    "organisation_reach",
    metadata,
    sa.Column("kind", sa.String(10), primary_key=True),
    sa.Column("value", sa.String(80), primary_key=True),
    sa.Column("organisation_id", Id, sa.ForeignKey("organisation.id"), primary_key=True),
    sa.Index("organisation_reach_by_organisation", "organisation_id"),
)
"""Areas and zones of an organisation (kind ``area`` or ``zone``), to find it by."""

service = sa.Table(
    "service",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, sa.ForeignKey("organisation.id"), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("area", CODE, nullable=False),
    sa.Column("eligibility_description", sa.Text, nullable=False),
    sa.Column("minimum_age", sa.Integer),
    sa.Column("maximum_age", sa.Integer),
    sa.Column("cost_option", sa.Text, nullable=False),
    sa.Column("required_document", sa.Text, nullable=False),
    sa.Column("languages", Json, nullable=False),
    sa.Column("accessibility", sa.Text, nullable=False),
    sa.Column("schedule_description", sa.Text, nullable=False),
    sa.Column("schedule_rrule", sa.String(500), nullable=False),
    sa.Column("capacity", CODE, nullable=False),
    sa.Column("capacity_at", UtcDateTime, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("service_by_organisation", "organisation_id", "name", "id"),
)

need = sa.Table(
    "need",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", CENTRE, nullable=False),
    sa.Column("household_id", sa.String(64), nullable=False),
    sa.Column("zone", sa.String(80), nullable=False),
    sa.Column("area", CODE, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Column("recorded_by", sa.String(64), nullable=False),
    sa.Index("need_by_time", "centre_id", "recorded_at", "zone", "area"),
    sa.Index("need_by_household", "household_id"),
)

_CLOSED = ", ".join(f"'{state}'" for state in sorted(CLOSED))

referral = sa.Table(
    "referral",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", CENTRE, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("need_id", sa.String(36), nullable=False),
    sa.Column("household_id", sa.String(64), nullable=False),
    sa.Column("zone", sa.String(80), nullable=False),
    sa.Column("area", CODE, nullable=False),
    sa.Column("from_organisation_id", sa.String(36), nullable=False),
    sa.Column("to_organisation_id", sa.String(36), nullable=False),
    sa.Column("service_id", sa.String(36), nullable=False),
    sa.Column("overridden", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("reason", CODE, nullable=False),
    sa.Column("outcome", CODE, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Column("recorded_by", sa.String(64), nullable=False),
    sa.Column("requested_at", UtcDateTime),
    sa.Column("answer_by", UtcDateTime),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("reminded", sa.Boolean, nullable=False),
    sa.Column("overdue", sa.Boolean, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.CheckConstraint(
        "state NOT IN ('completed', 'failed') OR outcome <> ''", name="referral_has_outcome"
    ),
    sa.CheckConstraint(
        "state NOT IN ('rejected', 'cancelled', 'expired') OR reason <> ''",
        name="referral_has_reason",
    ),
    sa.CheckConstraint(f"closed = (state IN ({_CLOSED}))", name="referral_closed_by_state"),
    sa.Index("referral_of_centre", "centre_id", "closed", "recorded_at", "id"),
    sa.Index("referral_to", "to_organisation_id", "closed", "recorded_at", "id"),
    sa.Index("referral_of_centre_by_time", "centre_id", "recorded_at", "id"),
    sa.Index("referral_to_by_time", "to_organisation_id", "recorded_at", "id"),
    sa.Index("referral_due", "centre_id", "state", "answer_by", "id"),
    sa.Index("referral_due_to", "to_organisation_id", "state", "answer_by", "id"),
    sa.Index("referral_of_household", "household_id", "closed"),
    sa.Index("referral_by_state", "state", "overdue"),
)

referral_step = sa.Table(
    "referral_step",
    metadata,
    sa.Column("referral_id", Id, sa.ForeignKey("referral.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("side", CODE, nullable=False),
    sa.Column("action", CODE, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("reason", CODE, nullable=False),
    sa.Column("outcome", CODE, nullable=False),
    sa.Column("organisation_id", sa.String(36), nullable=False),
)
"""What happened, one row each, never changed. ``organisation_id``: who was asked at that time."""

NOTE, OVERRIDE = "note", "override"

referral_text = sa.Table(
    "referral_text",
    metadata,
    sa.Column("referral_id", Id, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(10), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("centre_id", CENTRE, nullable=False),
    sa.Column("account_id", sa.String(64), nullable=False),
    sa.Column("organisation_id", sa.String(64), nullable=False),
    sa.Column("action", CODE, nullable=False),
    sa.Column("referral_id", Id, nullable=False),
    sa.Column("household_id", sa.String(64), nullable=False),
    sa.Index("audit_of_centre", "centre_id", "at", "id"),
    sa.Index("audit_of_referral", "referral_id", "at", "id"),
)
"""Who read what when. Rows are only ever added."""

rule = sa.Table(
    "rule",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", CENTRE, nullable=False),
    sa.Column("kind", CODE, nullable=False),
    sa.Column("from_time", UtcDateTime, nullable=False),
    sa.Column("values", Json, nullable=False),
    sa.Column("set_at", UtcDateTime, nullable=False),
    sa.Column("set_by", sa.String(64), nullable=False),
    sa.UniqueConstraint("centre_id", "kind", "from_time", name="rule_of_a_time"),
)
"""Dated configuration: the last one that has begun holds, the defaults before the first."""

centre_seen = sa.Table(
    "centre_seen",
    metadata,
    sa.Column("centre_id", sa.String(64), primary_key=True),
    sa.Column("time_zone", sa.String(64), nullable=False),
    sa.Column("region", sa.String(16), nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
)

household_seen = sa.Table(
    "household_seen",
    metadata,
    sa.Column("household_id", sa.String(64), primary_key=True),
    sa.Column("centre_id", sa.String(64), nullable=False),
    sa.Column("zone", sa.String(80), nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

zone_seen = sa.Table(
    "zone_seen",
    metadata,
    sa.Column("centre_id", sa.String(64), primary_key=True),
    sa.Column("zone", sa.String(80), primary_key=True),
)
"""Parts of the quarter in which households live or lived, to choose from."""

consent_seen = sa.Table(
    "consent_seen",
    metadata,
    sa.Column("household_id", sa.String(64), primary_key=True),
    sa.Column("given", sa.Boolean, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)
"""Consent of a household to referrals, as last told."""

person_known = sa.Table(
    "person_known",
    metadata,
    sa.Column("person_id", sa.String(64), primary_key=True),
    sa.Column("household_id", sa.String(64), nullable=False),
    sa.Column("given_name", sa.String(200), nullable=False),
    sa.Column("family_name", sa.String(200), nullable=False),
    sa.Column("language", sa.String(35), nullable=False),
    sa.Column("holder", sa.Boolean, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("person_known_of_household", "household_id"),
)
"""Names for the receiving organisation's page. An erased person is a stub with no name and the
greatest revision, so that nothing older comes back."""

FORGOTTEN = 2**62
"""The revision of an erased person."""


@dataclass(frozen=True)
class Who:
    """Who acts or reads: an account, its centre ("" is the whole foundation) and what it is here.

    ``staff`` is the sending side of its centre; ``organisation_id`` makes it the receiving side of
    that organisation; ``editor`` keeps the directory. Whoever is also of a household is no party
    to what is asked about it without its consent.
    """

    account_id: str
    centre_id: str = ""
    staff: bool = False
    organisation_id: str = ""
    editor: bool = False
    household_id: str = ""

    def sides(self, row: Row) -> tuple[Side, ...]:
        """The sides on which this one stands in a referral; none means that it is not there."""
        if self.centre_id not in ("", row["centre_id"]):
            return ()
        if row["overridden"] and row["household_id"] and row["household_id"] == self.household_id:
            return ()
        sides = []
        if self.staff:
            sides.append(Side.SENDER)
        asked = row["state"] != State.DRAFT
        if asked and self.organisation_id and self.organisation_id == row["to_organisation_id"]:
            sides.append(Side.RECEIVER)
        return tuple(sides)


def inserted(connection: sa.Connection, table: sa.Table, row: Row) -> bool:
    """Insert a row; False when its key is there already (two at once: one of them waits)."""
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(table), [dict(row)])
    except sa.exc.IntegrityError:
        return False
    return True


def load(
    connection: sa.Connection, table: sa.Table, key: str, *, lock: bool = False
) -> dict[str, Any] | None:
    """A row by the primary key of one column, locked for this transaction if wanted."""
    if lock:
        lock_rows(connection, table, [key])
    (column,) = table.primary_key.columns
    row = connection.execute(sa.select(table).where(column == key)).mappings().one_or_none()
    return None if row is None else dict(row)


def as_domain(row: Row) -> Referral:
    """What the rules need of a referral's row."""
    return Referral(
        state=State(row["state"]),
        to_organisation_id=row["to_organisation_id"],
        round=row["round"],
        outcome=row["outcome"],
        reason=row["reason"],
    )


def state_columns(after: Referral) -> dict[str, Any]:
    """The columns that follow from the state."""
    return {
        "state": after.state,
        "closed": after.closed,
        "to_organisation_id": after.to_organisation_id,
        "round": after.round,
        "outcome": after.outcome,
        "reason": after.reason,
    }


def change(connection: sa.Connection, table: sa.Table, key: str, values: Mapping[str, Any]) -> None:
    (column,) = table.primary_key.columns
    connection.execute(sa.update(table).where(column == key).values(dict(values)))


def add_step(
    tx: Transaction,
    referral_id: str,
    after: Referral,
    action: Action,
    side: Side,
    *,
    at: datetime | None = None,
    note: str = "",
    override: str = "",
) -> int:
    """Write what happened; the caller holds the lock of the referral. Gives the step's number."""
    connection = tx.connection
    steps = sa.func.coalesce(sa.func.max(referral_step.c.number), 0)
    last: int = connection.execute(
        sa.select(steps).where(referral_step.c.referral_id == referral_id)
    ).scalar_one()
    number = last + 1
    connection.execute(
        sa.insert(referral_step).values(
            referral_id=referral_id,
            number=number,
            round=after.round,
            at=at or tx.now,
            actor=tx.actor,
            side=side,
            action=action,
            state=after.state,
            reason=after.reason,
            outcome=after.outcome,
            organisation_id=after.to_organisation_id,
        )
    )
    texts = [(NOTE, note.strip()), (OVERRIDE, override.strip())]
    rows = [
        {"referral_id": referral_id, "number": number, "kind": kind, "text": text}
        for kind, text in texts
        if text
    ]
    if rows:
        connection.execute(sa.insert(referral_text), rows)
    return number


def write_audit(
    connection: sa.Connection,
    row: Row,
    who: Who,
    action: str,
    *,
    now: datetime,
    ids: Ids,
) -> None:
    """Write who did what with a referral."""
    connection.execute(
        sa.insert(audit).values(
            id=ids.new(),
            at=now,
            centre_id=row["centre_id"],
            account_id=who.account_id,
            organisation_id=who.organisation_id,
            action=action,
            referral_id=row["id"],
            household_id=row["household_id"],
        )
    )


def read_texts(tx: Transaction, row: Row, who: Who) -> dict[tuple[int, str], str]:
    """What was written about a referral, by step and kind. Writes the row of the audit log first:
    the only way to these texts."""
    write_audit(tx.connection, row, who, "read", now=tx.now, ids=tx.ids)
    found = tx.connection.execute(
        sa.select(referral_text.c.number, referral_text.c.kind, referral_text.c.text).where(
            referral_text.c.referral_id == row["id"]
        )
    )
    return {(number, kind): text for number, kind, text in found}


def scrub_texts(connection: sa.Connection, referral_ids: Iterable[str]) -> None:
    """Forget what was written about these referrals."""
    connection.execute(
        sa.delete(referral_text).where(referral_text.c.referral_id.in_(list(referral_ids)))
    )
