"""The state again, from own facts that a restored store has forgotten (docs: restore of a store).

No text travels, so a message that comes back says only that there is news. What was read is told to
nobody: it comes back as the backup knew it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from contracts import Event
from contracts.notifications import (
    Channel,
    ContactUnreachable,
    HoursSet,
    MessageDelivered,
    MessageFailed,
    PreferencesChanged,
)
from messaging import Received, Transaction
from messaging.service import Recover
from notifications import store
from notifications.commands import states, wishes
from notifications.domain import delivery as domain
from notifications.domain.delivery import State
from notifications.domain.preferences import Preferences
from runtime.store import insert_ignore, upsert


def message_delivered(tx: Transaction, received: Received[MessageDelivered]) -> None:
    event = received.event
    _ended(tx, received, State.DELIVERED, event.delivered_at)


def message_failed(tx: Transaction, received: Received[MessageFailed]) -> None:
    event = received.event
    _ended(tx, received, State(event.state), event.failed_at)


def contact_unreachable(tx: Transaction, received: Received[ContactUnreachable]) -> None:
    event = received.event
    insert_ignore(
        tx.connection,
        store.unreachable,
        [
            {
                "person_id": event.person_id,
                "channel": event.channel.value,
                "address_digest": "",
                "seen_at": event.seen_at,
            }
        ],
    )


def preferences_changed(tx: Transaction, received: Received[PreferencesChanged]) -> None:
    event = received.event
    home = store.household(tx.connection, event.household_id)
    if home is not None and home.erased:
        return
    wanted = Preferences.model_validate(event.model_dump(include=set(Preferences.model_fields)))
    wishes.write_preferences(tx, event.household_id, wanted, at=received.order, newer="changed_at")


def hours_set(tx: Transaction, received: Received[HoursSet]) -> None:
    wishes.write_hours(tx, received.event)


def _ended(
    tx: Transaction,
    received: Received[MessageDelivered] | Received[MessageFailed],
    state: State,
    at: datetime,
) -> None:
    event = received.event
    message = SimpleNamespace(
        id=event.message_id,
        intent=received.cause or event.message_id,
        kind=event.kind,
        centre_id=event.centre_id,
        household_id=event.household_id,
        person_id=event.person_id,
        data={},
        useful_until=None,
        state=domain.of_message(state if event.channel is Channel.EMAIL else None).value,
        correlation=received.correlation,
        created_at=at,
        about=None,
        happened_at=None,
    )
    insert_ignore(tx.connection, store.message, [vars(message)])
    known: Any = tx.connection.execute(
        sa.select(store.message).where(store.message.c.id == event.message_id)
    ).one()
    row = states.delivery_row(known, event.channel, state, now=at)
    upsert(
        tx.connection,
        store.delivery,
        [row | {"lease_id": None, "lease_until": None}],
        key=("message_id", "channel"),
    )
    if event.channel is Channel.EMAIL:
        tx.connection.execute(
            sa.update(store.message)
            .where(store.message.c.id == event.message_id)
            .values(state=domain.of_message(state).value)
        )


RECOVER: Mapping[type[Event], Recover] = {
    MessageDelivered: message_delivered,
    MessageFailed: message_failed,
    ContactUnreachable: contact_unreachable,
    PreferencesChanged: preferences_changed,
    HoursSet: hours_set,
}
