"""The state back from an own event that a restored store has forgotten.

What was written in words is not in events and is lost with the store; who was asked, where it
stands and until when is not. Nothing is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from contracts import Event
from contracts.network import (
    NeedRecorded,
    OrganisationRegistered,
    ReferralAccepted,
    ReferralCancelled,
    ReferralCompleted,
    ReferralExpired,
    ReferralOverdue,
    ReferralRejected,
    ReferralRequested,
    ReferralRerouted,
)
from messaging import Received, Transaction
from network import store
from network.commands.referrals import EXPIRE, OVERDUE, REMIND, deadlines_of, subject
from network.domain.referral import Action, Referral, Side, State
from network.domain.words import Outcome, Reason
from runtime.store import lock_rows, upsert


def organisation(tx: Transaction, received: Received[OrganisationRegistered]) -> None:
    """Name and areas; what else was known of it has to be typed again."""
    event = received.event
    known = store.load(tx.connection, store.organisation, event.organisation_id)
    areas = sorted(event.areas)
    if known is None:
        row = {
            "id": event.organisation_id,
            "centre_id": received.centre,
            "name": event.name,
            **dict.fromkeys(("description", "email", "phone", "website"), ""),
            "areas": areas,
            "zones": [],
            "languages": [],
            "registered_at": event.registered_at,
            "changed_at": received.time,
        }
        store.inserted(tx.connection, store.organisation, row)
    else:
        changed = {"name": event.name, "areas": areas}
        store.change(tx.connection, store.organisation, event.organisation_id, changed)
    upsert(
        tx.connection,
        store.organisation_reach,
        [
            {"kind": "area", "value": area, "organisation_id": event.organisation_id}
            for area in areas
        ],
        key=("kind", "value", "organisation_id"),
    )


def need(tx: Transaction, received: Received[NeedRecorded]) -> None:
    """The need as it was."""
    event = received.event
    row = {
        "id": event.need_id,
        "centre_id": event.centre_id,
        "household_id": event.household_id,
        "zone": event.zone,
        "area": event.area,
        "recorded_at": event.recorded_at,
        "recorded_by": "system",
    }
    store.inserted(tx.connection, store.need, row)


def _referral(
    state: State, action: Action, side: Side, outcome: Callable[[Any], Mapping[str, str]]
) -> Callable[[Transaction, Received[Any]], None]:
    def recovered(tx: Transaction, received: Received[Any]) -> None:
        event = received.event
        lock_rows(tx.connection, store.referral, [event.referral_id])
        row = store.load(tx.connection, store.referral, event.referral_id)
        if row is None:
            row = _stub(event)
            store.inserted(tx.connection, store.referral, row)
        said = outcome(event)
        closed_by = Outcome.FAILED if said.get("outcome") == Outcome.FAILED else None
        after = Referral(
            State.FAILED if closed_by else state,
            event.to_organisation_id,
            row["round"] + (action is Action.REROUTE),
            **said,
        )
        columns = {
            **store.state_columns(after),
            "overridden": row["overridden"] or event.overridden,
            "reminded": False,
            "overdue": False,
            "changed_at": event.at,
        }
        if after.state is State.REQUESTED:
            columns |= _deadlines(tx, event, after.round)
        store.change(tx.connection, store.referral, event.referral_id, columns)
        store.add_step(tx, event.referral_id, after, action, side, at=event.at)

    return recovered


def _overdue(tx: Transaction, received: Received[ReferralOverdue]) -> None:
    store.change(tx.connection, store.referral, received.event.referral_id, {"overdue": True})


def _deadlines(tx: Transaction, event: Any, round_: int) -> dict[str, Any]:
    """The deadline that was told; what comes after it is counted from now, which is late enough."""
    due = deadlines_of(tx, event.centre_id)
    for name, at in (
        (REMIND, event.answer_by - timedelta(hours=15)),
        (OVERDUE, due.overdue_at),
        (EXPIRE, due.expires_at),
    ):
        tx.schedule(name, subject(event.referral_id, round_), at)
    return {
        "requested_at": event.at,
        "answer_by": event.answer_by,
        "expires_at": due.expires_at,
    }


def _stub(event: Any) -> dict[str, Any]:
    return {
        "id": event.referral_id,
        "centre_id": event.centre_id,
        "digest": "",
        "need_id": event.need_id,
        "household_id": event.household_id,
        "zone": "",
        "area": getattr(event, "area", ""),
        "from_organisation_id": event.from_organisation_id,
        "service_id": "",
        "overridden": event.overridden,
        **store.state_columns(Referral(State.DRAFT, event.to_organisation_id)),
        "recorded_at": event.at,
        "recorded_by": "system",
        "requested_at": None,
        "answer_by": None,
        "expires_at": None,
        "reminded": False,
        "overdue": False,
        "changed_at": event.at,
    }


def _nothing(_event: Any) -> Mapping[str, str]:
    return {}


def _reason(event: Any) -> Mapping[str, str]:
    return {"reason": event.reason}


RECOVER: dict[type[Event], Callable[[Transaction, Received[Any]], None]] = {
    OrganisationRegistered: organisation,
    NeedRecorded: need,
    ReferralRequested: _referral(State.REQUESTED, Action.REQUEST, Side.SENDER, _nothing),
    ReferralRerouted: _referral(State.REQUESTED, Action.REROUTE, Side.SENDER, _nothing),
    ReferralAccepted: _referral(State.ACCEPTED, Action.ACCEPT, Side.RECEIVER, _nothing),
    ReferralRejected: _referral(State.REJECTED, Action.REJECT, Side.RECEIVER, _reason),
    ReferralCompleted: _referral(
        State.COMPLETED, Action.COMPLETE, Side.RECEIVER, lambda event: {"outcome": event.outcome}
    ),
    ReferralCancelled: _referral(State.CANCELLED, Action.CANCEL, Side.SYSTEM, _reason),
    ReferralExpired: _referral(
        State.EXPIRED, Action.EXPIRE, Side.SYSTEM, lambda _event: {"reason": Reason.NO_ANSWER}
    ),
    ReferralOverdue: _overdue,
}
