"""What a household wants to get, and when a centre lets messages leave."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from contracts.notifications import HoursSet, PreferencesChanged
from messaging import Transaction
from notifications import store
from notifications.domain.preferences import Preferences
from notifications.domain.quiet_hours import Hours
from runtime.refusals import N_, NotFound
from runtime.store import insert_ignore, upsert


def household_in(
    connection: sa.Connection, household_id: str, *, centre_id: str = ""
) -> sa.Row[tuple[str]]:
    """A household of a centre ("" is the foundation). Raises NotFound."""
    home = store.household(connection, household_id)
    if home is None or home.erased or centre_id not in ("", home.centre_id):
        raise NotFound(
            "household.unknown",
            N_("There is no such household."),
            N_("If it was registered a moment ago, try again in a minute."),
        )
    return home


def set_preferences(
    tx: Transaction, household_id: str, wanted: Preferences, *, centre_id: str = ""
) -> Preferences:
    """What the household wants from now on; e-mails that wait heed it. Raises NotFound."""
    home = household_in(tx.connection, household_id, centre_id=centre_id)
    write_preferences(tx, household_id, wanted, at=tx.now)
    tx.emit(
        PreferencesChanged(
            household_id=household_id,
            centre_id=home.centre_id,
            changed_at=tx.now,
            **wanted.model_dump(mode="json"),
        ),
        centre=home.centre_id,
    )
    return wanted


def write_preferences(
    tx: Transaction,
    household_id: str,
    wanted: Preferences,
    *,
    at: datetime,
    newer: str | None = None,
) -> None:
    """What a household wants; with `newer`, the column to compare, what is newer stays."""
    upsert(
        tx.connection,
        store.preference,
        [
            {
                "household_id": household_id,
                "wanted": wanted.model_dump(mode="json"),
                "changed_by": tx.actor[:64],
                "changed_at": at,
            }
        ],
        key=("household_id",),
        newer=newer,
    )


def set_hours(tx: Transaction, centre_id: str, hours: Hours, *, from_time: datetime) -> None:
    """From a moment on, messages of a centre leave in these hours."""
    event = HoursSet(
        hours_id=tx.ids.new(),
        centre_id=centre_id,
        from_time=from_time,
        set_at=tx.now,
        **hours.model_dump(mode="json"),
    )
    write_hours(tx, event)
    tx.emit(event, centre=centre_id)


def write_hours(tx: Transaction, event: HoursSet) -> None:
    """The hours that were set, once."""
    hours = Hours.model_validate(event.model_dump(include=set(Hours.model_fields)))
    insert_ignore(
        tx.connection,
        store.hours,
        [
            {
                "id": event.hours_id,
                "centre_id": event.centre_id,
                "from_time": event.from_time,
                "hours": hours.model_dump(mode="json"),
                "set_by": tx.actor[:64],
                "set_at": event.set_at,
            }
        ],
    )


def forget_household(tx: Transaction, household_id: str) -> None:
    """A household is erased: what it wanted goes with it."""
    tx.connection.execute(
        sa.delete(store.preference).where(store.preference.c.household_id == household_id)
    )
