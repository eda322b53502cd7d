"""Activities, their sessions, and what is set for them by the staff."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from activities import store
from activities.commands.sessions import SESSION_BEGINS, By, opened, require_open
from activities.domain import sessions, waiting_list
from activities.domain.waiting_list import Policy, State
from contracts.activities import (
    ActivityCreated,
    OfferHoldSet,
    SessionCancelled,
    SessionScheduled,
)
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotFound, Refusal

LARGEST = 1000
"""Places of a session at most: more is surely a slip of the pen."""
OLDEST = timedelta(days=31)
"""What took place so long ago at most may still be written down, for its register."""
FURTHEST = timedelta(days=2 * 366)
LONGEST_HOLD = 24 * 14
"""Hours that a place may be kept for an answer at most."""


@dataclass(frozen=True)
class ActivityMade:
    id: str


@dataclass(frozen=True)
class SessionsMade:
    """The sessions of a series, in the order of time; one when it is no series."""

    ids: tuple[str, ...]


def create_activity(
    tx: Transaction,
    centre_id: str,
    *,
    title: str,
    area: str = "",
    description: str = "",
    min_age: int | None = None,
    max_age: int | None = None,
    default_capacity: int,
    waiting_list_policy: Policy = Policy.NEXT_WHO_FITS,
) -> ActivityMade:
    """Something that the centre will offer. Raises Invalid (activity.ages)."""
    if min_age is not None and max_age is not None and min_age > max_age:
        raise Invalid(
            "activity.ages",
            N_("The highest age must not be below the lowest."),
            field="max_age",
        )
    activity_id = tx.ids.new()
    tx.connection.execute(
        sa.insert(store.activity).values(
            id=activity_id,
            centre_id=centre_id,
            title=title,
            area=area,
            description=description,
            min_age=min_age,
            max_age=max_age,
            default_capacity=default_capacity,
            waiting_list_policy=str(waiting_list_policy),
            created_at=tx.now,
        )
    )
    tx.emit(
        ActivityCreated(
            activity_id=activity_id,
            centre_id=centre_id,
            title=title,
            area=area,
            min_age=min_age,
            max_age=max_age,
            default_capacity=default_capacity,
            waiting_list_policy=str(waiting_list_policy),
            created_at=tx.now,
        ),
        centre=centre_id,
    )
    return ActivityMade(activity_id)


def unknown_activity() -> NotFound:
    return NotFound(
        "activity.unknown",
        N_("There is no such activity."),
        N_("Choose an activity from the list."),
    )


def schedule_sessions(
    tx: Transaction,
    by: By,
    activity_id: str,
    *,
    starts_at: datetime,
    ends_at: datetime,
    capacity: int | None = None,
    place: str = "",
    weeks: int = 1,
) -> SessionsMade:
    """A session, or one a week at the same wall-clock time of the centre for some weeks.

    ``capacity`` None takes the activity's default. Raises NotFound, Invalid (session.times).
    """
    row = tx.connection.execute(
        sa.select(store.activity).where(store.activity.c.id == activity_id)
    ).one_or_none()
    if row is None or not by.may_see(row.centre_id):
        raise unknown_activity()
    _check_times(tx, starts_at, ends_at)
    ids = []
    zone = store.time_zone(tx.connection, row.centre_id)
    for begin, end in sessions.weekly(starts_at, ends_at, weeks, zone):
        session_id = tx.ids.new()
        ids.append(session_id)
        places = row.default_capacity if capacity is None else capacity
        tx.collect(
            store.session,
            {
                "id": session_id,
                "activity_id": activity_id,
                "centre_id": row.centre_id,
                "title": row.title,
                "starts_at": begin,
                "ends_at": end,
                "capacity": places,
                "place": place,
                "state": "scheduled",
                "cancel_reason": "",
                "scheduled_at": tx.now,
                "changed_at": tx.now,
                "register_revision": 0,
                "register_present": 0,
                "register_absent": 0,
                "register_taken_at": None,
            },
        )
        tx.emit(
            SessionScheduled(
                session_id=session_id,
                activity_id=activity_id,
                centre_id=row.centre_id,
                title=row.title,
                starts_at=begin,
                ends_at=end,
                capacity=places,
                place=place,
                scheduled_at=tx.now,
            ),
            centre=row.centre_id,
        )
        if begin > tx.now:
            tx.schedule(SESSION_BEGINS, session_id, begin)
    return SessionsMade(tuple(ids))


def _check_times(tx: Transaction, starts_at: datetime, ends_at: datetime) -> None:
    if ends_at <= starts_at:
        raise Invalid("session.times", N_("The end must be after the beginning."), field="ends_at")
    if ends_at - starts_at > sessions.LONGEST:
        raise Invalid("session.times", N_("A session lasts 24 hours at most."), field="ends_at")
    if not tx.now - OLDEST <= starts_at <= tx.now + FURTHEST:
        raise Invalid(
            "session.times",
            N_("The date is too far away: from a month ago to two years ahead."),
            field="starts_at",
        )


def set_capacity(tx: Transaction, by: By, session_id: str, capacity: int) -> None:
    """Change the number of places; when there are more, the next in the list get offers.

    Raises NotFound, Refusal (session.cancelled, session.capacity_taken, session.capacity_group).
    """
    work = opened(tx, by, session_id)
    session = work.session
    if session.state != "scheduled":
        require_open(work)
    if session.begun(tx.now):
        taken = max(waiting_list.taken(session.entries), session.register_present)
    else:
        taken = waiting_list.taken(session.entries, session.present)
    if capacity < taken:
        raise Refusal(
            "session.capacity_taken",
            N_("{taken} places are taken: the session cannot have fewer."),
            N_("Cancel sign-ups or take people off the register first."),
            field="capacity",
            taken=taken,
        )
    if capacity < (group := waiting_list.largest_group(session.entries)):
        raise Refusal(
            "session.capacity_group",
            N_("A group of {group} is waiting that could never come then."),
            N_("Cancel sign-ups of the group first."),
            field="capacity",
            group=group,
        )
    if capacity != session.capacity:
        session.capacity = capacity
        of_session = sa.select(store.session.c.place).where(store.session.c.id == session_id)
        tx.connection.execute(
            sa.update(store.session)
            .where(store.session.c.id == session_id)
            .values(capacity=capacity, scheduled_at=work.stamp)
        )
        tx.emit(
            SessionScheduled(
                session_id=session.id,
                activity_id=session.activity_id,
                centre_id=session.centre_id,
                title=session.title,
                starts_at=session.starts_at,
                ends_at=session.ends_at,
                capacity=capacity,
                place=tx.connection.scalar(of_session) or "",
                scheduled_at=work.stamp,
            ),
            centre=session.centre_id,
        )
        work.settle()
    work.save()


def cancel_session(tx: Transaction, by: By, session_id: str, reason: str = "") -> None:
    """It does not take place: every live sign-up ends and everybody is told. Again: the same.

    Not while its register says that somebody was there: the register of a cancelled session cannot
    be corrected, and whether these people came, and keep their points, is for the staff to say.
    Raises NotFound, Refusal (session.begun, session.people_present).
    """
    work = opened(tx, by, session_id)
    session = work.session
    if session.state == "cancelled":
        return
    require_open(work)
    if session.register_present:
        raise Refusal(
            "session.people_present",
            N_("The register says that people were there: what took place cannot be cancelled."),
            N_("If nobody came, take everybody off the register first."),
        )
    session.state = "cancelled"
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.id == session_id)
        .values(state="cancelled", cancel_reason=reason)
    )
    tx.emit(
        SessionCancelled(
            session_id=session.id,
            centre_id=session.centre_id,
            title=session.title,
            starts_at=session.starts_at,
            reason=reason,
            cancelled_at=work.stamp,
        ),
        centre=session.centre_id,
    )
    for one in session.live:
        if one.live:
            work.end(one, State.CANCELLED, "session_cancelled")
    work.save()


def set_offer_hold(
    tx: Transaction,
    by: By,
    *,
    hours: int,
    activity_id: str = "",
    centre_id: str = "",
    from_time: datetime | None = None,
) -> None:
    """From a time on (now), an offered place is kept so long: for an activity or a whole centre.

    Offers that are out keep the deadline that was told. Raises NotFound.
    """
    if activity_id:
        centre = tx.connection.execute(
            sa.select(store.activity.c.centre_id).where(store.activity.c.id == activity_id)
        ).scalar()
        if centre is None or not by.may_see(centre):
            raise unknown_activity()
        centre_id = centre
    event = OfferHoldSet(
        centre_id=centre_id,
        hold_id=tx.ids.new(),
        activity_id=activity_id,
        hours=hours,
        from_time=from_time or tx.now,
        set_at=tx.now,
    )
    store.put_offer_hold(tx.connection, event, set_by=tx.actor)
    tx.emit(event, centre=centre_id)
