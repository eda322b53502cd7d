"""Facts of activities, on ``activities.events``: a session is the aggregate of its sign-ups."""

from __future__ import annotations

from contracts.event import Event, Id, Moment

TOPIC = "activities.events"


class ActivityCreated(Event, type="activities.activity.created", topic=TOPIC, key="activity_id"):
    """Something that the centre offers again and again."""

    activity_id: Id
    centre_id: Id
    title: str
    area: str = ""
    min_age: int | None = None
    max_age: int | None = None
    default_capacity: int = 20
    waiting_list_policy: str = "next_who_fits"
    created_at: Moment


class OfferHoldSet(Event, type="activities.offer_hold.set", topic=TOPIC, key="centre_id"):
    """From ``from_time`` on an offered place is kept so many hours: in the whole centre, or for one
    activity."""

    centre_id: Id
    hold_id: Id
    activity_id: str = ""
    hours: int
    from_time: Moment
    set_at: Moment


class SessionScheduled(Event, type="activities.session.scheduled", topic=TOPIC, key="session_id"):
    """A session takes place then; ``capacity`` places."""

    session_id: Id
    activity_id: Id
    centre_id: Id
    title: str
    starts_at: Moment
    ends_at: Moment
    capacity: int
    place: str = ""
    scheduled_at: Moment


class SessionCancelled(Event, type="activities.session.cancelled", topic=TOPIC, key="session_id"):
    """It does not take place; everybody signed up is told."""

    session_id: Id
    centre_id: Id
    title: str
    starts_at: Moment
    reason: str = ""
    cancelled_at: Moment


class _SignUp(Event):
    """What every fact of a sign-up says."""

    session_id: Id
    centre_id: Id
    signup_id: Id
    person_id: Id
    household_id: Id
    title: str
    starts_at: Moment
    at: Moment
    entered_at: Moment | None = None
    """When the person came to the list; with ``priority`` (0 to 9) it gives the order there."""
    priority: int = 0
    group_id: str = ""
    """Siblings who come together or not at all."""


class SignUpConfirmed(_SignUp, type="activities.signup.confirmed", topic=TOPIC, key="session_id"):
    """The person has a place."""


class SignUpWaitlisted(_SignUp, type="activities.signup.waitlisted", topic=TOPIC, key="session_id"):
    """No place now; ``position`` in the waiting list, from 1."""

    position: int


class SignUpOffered(_SignUp, type="activities.signup.offered", topic=TOPIC, key="session_id"):
    """A place is kept for the person until ``answer_by``."""

    answer_by: Moment


class OfferExpired(_SignUp, type="activities.offer.expired", topic=TOPIC, key="session_id"):
    """Nobody answered in time; the place goes to the next."""


class SignUpCancelled(_SignUp, type="activities.signup.cancelled", topic=TOPIC, key="session_id"):
    """The sign-up ended. ``reason``: by_family, by_staff, offer_declined, session_cancelled,
    not_placed, person_erased."""

    reason: str


class AttendanceRecorded(
    Event, type="activities.attendance.recorded", topic=TOPIC, key="session_id"
):
    """Somebody was there or not. A correction is a new fact with a higher ``revision``; points of
    an attendance are credited once for each (session, person)."""

    session_id: Id
    activity_id: Id
    centre_id: Id
    signup_id: str = ""
    person_id: Id
    household_id: Id
    present: bool
    revision: int
    title: str = ""
    starts_at: Moment
    recorded_at: Moment


class RegisterTaken(Event, type="activities.register.taken", topic=TOPIC, key="session_id"):
    """The register of a session is complete."""

    session_id: Id
    centre_id: Id
    present: int
    absent: int
    revision: int
    taken_at: Moment
