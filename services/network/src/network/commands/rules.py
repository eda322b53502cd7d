"""Dated configuration of a centre: deadlines and the threshold of the counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from messaging import Transaction
from network import store
from network.domain.deadlines import DeadlineRule
from network.models import CountRule, NewRule
from network.store import Who
from runtime.refusals import N_, Refusal
from runtime.store import lock_rows, upsert

DEADLINES, COUNTS = "deadlines", "counts"

R = TypeVar("R", bound=BaseModel)


def rules_changed_meanwhile() -> Refusal:
    """Other rules hold than those that were looked at."""
    return Refusal(
        "rules.changed_meanwhile",
        N_("The rules have changed meanwhile."),
        N_("Look at them as they are now, with what you typed, then save again."),
    )


def set_rules(
    tx: Transaction,
    who: Who,
    asked: NewRule,
    *,
    centre_id: str,
    seen: Mapping[str, int] | None = None,
) -> None:
    """What is given holds from its time on; said again for the same time, the later word holds.

    ``seen`` are the numbers that the caller looked at: when others hold by now, nothing is set, and
    Refusal("rules.changed_meanwhile") is raised.
    """
    lock_rows(tx.connection, store.centre_seen, [centre_id])
    if seen is not None and seen != holding(tx.connection, centre_id, tx.now):
        raise rules_changed_meanwhile()
    for kind, values in ((DEADLINES, asked.deadlines), (COUNTS, asked.counts)):
        if values is not None:
            upsert(
                tx.connection,
                store.rule,
                [
                    {
                        "id": tx.ids.new(),
                        "centre_id": centre_id,
                        "kind": kind,
                        "from_time": asked.from_time or tx.now,
                        "values": values.model_dump(mode="json"),
                        "set_at": tx.now,
                        "set_by": who.account_id,
                    }
                ],
                key=("centre_id", "kind", "from_time"),
            )


def holding(connection: sa.Connection, centre_id: str, at: datetime) -> dict[str, int]:
    """All numbers that hold at a time, by their names."""
    deadlines = deadline_rule(connection, centre_id, at)
    return deadlines.model_dump() | count_rule(connection, centre_id, at).model_dump()


def deadline_rule(connection: sa.Connection, centre_id: str, at: datetime) -> DeadlineRule:
    """The rule that holds at a time; before the first one, the numbers of the field."""
    return _rule(connection, centre_id, DEADLINES, at, DeadlineRule)


def count_rule(connection: sa.Connection, centre_id: str, at: datetime) -> CountRule:
    """From how many on a count is shown."""
    return _rule(connection, centre_id, COUNTS, at, CountRule)


def _rule(connection: sa.Connection, centre_id: str, kind: str, at: datetime, model: type[R]) -> R:
    rule = store.rule
    values = connection.scalar(
        sa.select(rule.c["values"])
        .where(rule.c.centre_id == centre_id, rule.c.kind == kind, rule.c.from_time <= at)
        .order_by(rule.c.from_time.desc())
        .limit(1)
    )
    return model.model_validate(values or {})
