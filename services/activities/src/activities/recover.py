"""The state again, from own facts that a restored store has forgotten (docs: restore of a store).

What the facts do not carry is an activity's description, free text: it comes back empty. Facts of
before they carried ages, places and groups give defaults. Facts of a session come in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from activities import store
from activities.commands.sessions import OFFER_EXPIRY, SESSION_BEGINS
from activities.domain.waiting_list import Policy, State
from contracts import Event
from contracts.activities import (
    ActivityCreated,
    AttendanceRecorded,
    OfferExpired,
    OfferHoldSet,
    RegisterTaken,
    SessionCancelled,
    SessionScheduled,
    SignUpCancelled,
    SignUpConfirmed,
    SignUpOffered,
    SignUpWaitlisted,
)
from messaging import Received, Transaction
from messaging.service import Recover
from runtime.store import insert_ignore, upsert

DEFAULT_CAPACITY = 20
"""Until somebody says otherwise, for an activity whose default was forgotten."""


def activity_created(tx: Transaction, received: Received[ActivityCreated]) -> None:
    event = received.event
    _activity(tx, event.activity_id, event.centre_id, event.title, event.area, event.created_at)
    tx.connection.execute(
        sa.update(store.activity)
        .where(store.activity.c.id == event.activity_id)
        .values(
            title=event.title,
            area=event.area,
            min_age=event.min_age,
            max_age=event.max_age,
            default_capacity=event.default_capacity,
            waiting_list_policy=event.waiting_list_policy,
            created_at=event.created_at,
        )
    )


def offer_hold_set(tx: Transaction, received: Received[OfferHoldSet]) -> None:
    store.put_offer_hold(tx.connection, received.event, set_by="system")


def session_scheduled(tx: Transaction, received: Received[SessionScheduled]) -> None:
    """Also a change of capacity. The activity's own fact may come later: another key."""
    event = received.event
    _activity(tx, event.activity_id, event.centre_id, event.title, "", event.scheduled_at)
    insert_ignore(
        tx.connection,
        store.session,
        [
            {
                "id": event.session_id,
                "activity_id": event.activity_id,
                "centre_id": event.centre_id,
                "title": event.title,
                "starts_at": event.starts_at,
                "ends_at": event.ends_at,
                "capacity": event.capacity,
                "place": event.place,
                "state": "scheduled",
                "cancel_reason": "",
                "scheduled_at": event.scheduled_at,
                "changed_at": event.scheduled_at,
                "register_revision": 0,
                "register_present": 0,
                "register_absent": 0,
                "register_taken_at": None,
            }
        ],
    )
    _session(tx, event.session_id, capacity=event.capacity, scheduled_at=event.scheduled_at)
    if event.starts_at > tx.now:
        tx.schedule(SESSION_BEGINS, event.session_id, event.starts_at)


def session_cancelled(tx: Transaction, received: Received[SessionCancelled]) -> None:
    event = received.event
    _session(tx, event.session_id, state="cancelled", cancel_reason=event.reason)


def confirmed(tx: Transaction, received: Received[SignUpConfirmed]) -> None:
    _sign_up(tx, received.event, State.CONFIRMED, confirmed_at=received.event.at)


def waitlisted(tx: Transaction, received: Received[SignUpWaitlisted]) -> None:
    _sign_up(tx, received.event, State.WAITING)


def offered(tx: Transaction, received: Received[SignUpOffered]) -> None:
    event = received.event
    _sign_up(tx, event, State.OFFERED, offered_at=event.at, answer_by=event.answer_by)
    tx.schedule(OFFER_EXPIRY, event.signup_id, event.answer_by)


def expired(tx: Transaction, received: Received[OfferExpired]) -> None:
    _sign_up(tx, received.event, State.EXPIRED, ended_at=received.event.at)


def cancelled(tx: Transaction, received: Received[SignUpCancelled]) -> None:
    event = received.event
    state = State.NOT_PLACED if event.reason == "not_placed" else State.CANCELLED
    _sign_up(tx, event, state, ended_at=event.at, reason=event.reason)


def attendance_recorded(tx: Transaction, received: Received[AttendanceRecorded]) -> None:
    event = received.event
    upsert(
        tx.connection,
        store.attendance,
        [
            {
                "session_id": event.session_id,
                "person_id": event.person_id,
                "household_id": event.household_id,
                "signup_id": event.signup_id,
                "present": event.present,
                "expected": event.signup_id != "",
                "revision": event.revision,
                "recorded_at": event.recorded_at,
            }
        ],
        key=("session_id", "person_id"),
        newer="revision",
    )


def register_taken(tx: Transaction, received: Received[RegisterTaken]) -> None:
    """Who was expected is seen by the sign-ups of now, as when it was taken: no fact tells it of a
    mark of which nothing else changed."""
    event = received.event
    _session(
        tx,
        event.session_id,
        register_revision=event.revision,
        register_present=event.present,
        register_absent=event.absent,
        register_taken_at=event.taken_at,
    )
    has_a_place = sa.exists().where(
        store.sign_up.c.session_id == store.attendance.c.session_id,
        store.sign_up.c.person_id == store.attendance.c.person_id,
        store.sign_up.c.state == str(State.CONFIRMED),
    )
    tx.connection.execute(
        sa.update(store.attendance)
        .where(store.attendance.c.session_id == event.session_id)
        .values(expected=has_a_place)
    )


def _activity(
    tx: Transaction, activity_id: str, centre_id: str, title: str, area: str, created_at: Any
) -> None:
    insert_ignore(
        tx.connection,
        store.activity,
        [
            {
                "id": activity_id,
                "centre_id": centre_id,
                "title": title,
                "area": area,
                "description": "",
                "min_age": None,
                "max_age": None,
                "default_capacity": DEFAULT_CAPACITY,
                "waiting_list_policy": str(Policy.NEXT_WHO_FITS),
                "created_at": created_at,
            }
        ],
    )


def _session(tx: Transaction, session_id: str, **values: Any) -> None:
    tx.connection.execute(
        sa.update(store.session).where(store.session.c.id == session_id).values(values)
    )


def _sign_up(
    tx: Transaction,
    event: SignUpConfirmed | SignUpWaitlisted | SignUpOffered | OfferExpired | SignUpCancelled,
    state: State,
    **values: Any,
) -> None:
    insert_ignore(
        tx.connection,
        store.sign_up,
        [
            {
                "id": event.signup_id,
                "session_id": event.session_id,
                "person_id": event.person_id,
                "household_id": event.household_id,
                "state": str(state),
                "priority": event.priority,
                "group_id": event.group_id,
                "entered_at": event.entered_at or event.at,
                "offered_at": None,
                "answer_by": None,
                "confirmed_at": None,
                "ended_at": None,
                "reason": "",
                "recovered": event.entered_at is None,
            }
        ],
    )
    tx.connection.execute(
        sa.update(store.sign_up)
        .where(store.sign_up.c.id == event.signup_id)
        .values(state=str(state), **values)
    )
    _session(tx, event.session_id, changed_at=event.at)


RECOVER: Mapping[type[Event], Recover] = {
    ActivityCreated: activity_created,
    OfferHoldSet: offer_hold_set,
    SessionScheduled: session_scheduled,
    SessionCancelled: session_cancelled,
    SignUpConfirmed: confirmed,
    SignUpWaitlisted: waitlisted,
    SignUpOffered: offered,
    OfferExpired: expired,
    SignUpCancelled: cancelled,
    AttendanceRecorded: attendance_recorded,
    RegisterTaken: register_taken,
}
