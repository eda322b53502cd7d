"""Needs: what somebody lacks, by zone and area of life."""

from __future__ import annotations

from contracts.network import NeedRecorded
from messaging import Transaction
from network import store
from network.commands.shared import known_household, other_content
from network.models import NewNeed
from network.store import Who
from runtime.refusals import N_, Invalid


def record_need(tx: Transaction, who: Who, asked: NewNeed, *, centre_id: str) -> str:
    """Record a need of the centre. The same id with the same content is the same need.

    A household that is not known *yet* is taken as said; one of another centre is refused. Emits
    NeedRecorded.
    """
    household = None
    if asked.household_id:
        household = known_household(tx.connection, asked.household_id, centre_id)
    zone = asked.zone or (household["zone"] if household else "")
    if not zone:
        raise Invalid(
            "need.zone_missing",
            N_("Say in which part of the quarter."),
            N_("Choose a zone, never an address."),
            field="zone",
        )
    need_id = asked.id or tx.ids.new()
    same = {
        "centre_id": centre_id,
        "household_id": asked.household_id,
        "zone": zone,
        "area": asked.area,
    }
    row = {"id": need_id, **same, "recorded_at": tx.now, "recorded_by": who.account_id}
    if not store.inserted(tx.connection, store.need, row):
        there = store.load(tx.connection, store.need, need_id)
        if there is None or any(there[name] != value for name, value in same.items()):
            raise other_content()
        return need_id
    tx.emit(
        NeedRecorded(
            need_id=need_id,
            centre_id=centre_id,
            household_id=asked.household_id,
            zone=zone,
            area=asked.area,
            recorded_at=tx.now,
        ),
        centre=centre_id,
    )
    return need_id
