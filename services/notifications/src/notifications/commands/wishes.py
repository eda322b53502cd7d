"""What a household wants to get, and when a centre lets messages leave."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from messaging import Transaction
from notifications import store
from notifications.domain.preferences import Preferences
from notifications.domain.quiet_hours import Hours
from runtime.refusals import N_, NotFound
from runtime.store import upsert


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
    household_in(tx.connection, household_id, centre_id=centre_id)
    upsert(
        tx.connection,
        store.preference,
        [
            {
                "household_id": household_id,
                "wanted": wanted.model_dump(mode="json"),
                "changed_by": tx.actor[:64],
                "changed_at": tx.now,
            }
        ],
        key=("household_id",),
    )
    return wanted


def set_hours(tx: Transaction, centre_id: str, hours: Hours, *, from_time: datetime) -> None:
    """From a moment on, messages of a centre leave in these hours."""
    tx.connection.execute(
        sa.insert(store.hours).values(
            id=tx.ids.new(),
            centre_id=centre_id,
            from_time=from_time,
            hours=hours.model_dump(mode="json"),
            set_by=tx.actor[:64],
            set_at=tx.now,
        )
    )


def forget_household(tx: Transaction, household_id: str) -> None:
    """A household is erased: what it wanted goes with it."""
    tx.connection.execute(
        sa.delete(store.preference).where(store.preference.c.household_id == household_id)
    )
