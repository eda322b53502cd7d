"""The HTTP API of activities."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from activities import commands, queries
from activities.access import READ_SCOPE, SET, SIGN_UP, WRITE, WRITE_SCOPE, by
from activities.commands.planning import LARGEST, LONGEST_HOLD
from activities.commands.registers import MOST
from activities.commands.sign_ups import HIGHEST_PRIORITY, MOST_AT_ONCE, SignUpMade
from activities.domain.sessions import MOST_WEEKS
from activities.domain.waiting_list import Policy, State
from activities.queries import ActivityView, SessionView, SignUpView
from contracts import Id
from runtime.refusals import N_
from web import Call, Page, Paged, allow
from web.errors import ProblemAnswer


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": ProblemAnswer, "description": _PROBLEMS[status]} for status in statuses
    }


_PROBLEMS = {
    403: "Your role or token does not allow this",
    404: "There is no such thing in your centre (activity.unknown, session.unknown, …)",
    409: "It cannot be done now; `reason` says why (session.begun, offer.expired, …)",
    422: "What was sent is not valid; `reason` and `errors` say what (person.unknown, …)",
}

router = APIRouter(
    prefix="/activities/api", tags=["activities"], responses=_problems(403, 404, 409, 422)
)

Reader = Annotated[Call, Depends(allow(scope=READ_SCOPE))]
Writer = Annotated[Call, Depends(allow(*WRITE, scope=WRITE_SCOPE))]
SignsUp = Annotated[Call, Depends(allow(*SIGN_UP, scope=WRITE_SCOPE))]
Sets = Annotated[Call, Depends(allow(*SET, scope=WRITE_SCOPE))]
Staff = Annotated[Call, Depends(allow(*WRITE, scope=READ_SCOPE))]

Capacity = Annotated[int, Field(ge=1, le=LARGEST, description="Places", examples=[15])]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class ActivityIn(_In):
    """Something that the centre offers again and again."""

    title: Annotated[str, Field(min_length=1, max_length=200, examples=["Spazio compiti"])]
    area: Annotated[
        str, Field(max_length=100, description="What it belongs to", examples=["scuola"])
    ] = ""
    description: Annotated[str, Field(max_length=2000)] = ""
    min_age: Annotated[
        int | None, Field(ge=0, le=120, description="Years on the day", examples=[6])
    ] = None
    max_age: Annotated[int | None, Field(ge=0, le=120, examples=[11])] = None
    default_capacity: Annotated[Capacity, Field(description="Places of a session")] = 15
    waiting_list_policy: Annotated[
        Policy,
        Field(
            description="Who gets a place that is free while a larger group waits: it is kept for "
            "the group, or goes to the next who fits"
        ),
    ] = Policy.NEXT_WHO_FITS
    centre_id: Annotated[
        Id | None, Field(description="Only for administrators of the whole foundation")
    ] = None


class ActivityOut(BaseModel):
    id: str
    centre_id: str
    title: str
    area: str
    description: str
    min_age: int | None
    max_age: int | None
    default_capacity: int
    waiting_list_policy: Policy


class SessionIn(_In):
    """A session, or one a week for ``weeks`` weeks at the same wall-clock time."""

    starts_at: Annotated[AwareDatetime, Field(examples=["2026-11-23T16:30:00+01:00"])]
    ends_at: Annotated[AwareDatetime, Field(examples=["2026-11-23T18:30:00+01:00"])]
    capacity: Annotated[
        int | None, Field(ge=1, le=LARGEST, description="The activity's default when left out")
    ] = None
    place: Annotated[str, Field(max_length=200, examples=["Sala grande"])] = ""
    weeks: Annotated[int, Field(ge=1, le=MOST_WEEKS)] = 1


class SignUpOut(BaseModel):
    """``position`` counts people in the waiting list, from 1; ``answer_by`` only for offers."""

    id: str
    session_id: str
    person_id: str
    state: State
    position: int | None = None
    answer_by: datetime | None = None


class SessionOut(BaseModel):
    id: str
    activity_id: str
    centre_id: str
    title: str
    area: str
    starts_at: datetime
    ends_at: datetime
    place: str
    capacity: int
    state: Annotated[str, Field(description="scheduled or cancelled")]
    waiting_list_policy: Policy
    confirmed: int
    offered: Annotated[int, Field(description="Places kept for an answer: they are taken")]
    waiting: int
    places_left: Annotated[
        int, Field(description="Capacity without confirmed, offered and walk-ins")
    ]
    open_places: Annotated[
        int,
        Field(description="What a newcomer can get at once: 0 while places are kept for others"),
    ]
    register_revision: Annotated[int, Field(description="0 until the register was taken")]
    register_present: int
    register_absent: int


class SessionWithSignUps(SessionOut):
    """Staff see every sign-up, a family those of its own people."""

    sign_ups: list[SignUpOut]


class SessionsMadeOut(SessionOut):
    """The session (the first of a series) and the ids of all that were made."""

    series: list[str]


class SessionChange(_In):
    capacity: Capacity


class CancelIn(_In):
    reason: Annotated[
        str, Field(max_length=500, description="Told to everybody", examples=["neve"])
    ] = ""


class SignUpsIn(_In):
    """Who comes: ``person_ids`` or ``person_id``."""

    person_ids: Annotated[list[Id] | None, Field(max_length=MOST_AT_ONCE)] = None
    person_id: Id | None = None
    together: Annotated[
        bool, Field(description="People of one household: all of them get a place, or none")
    ] = False
    priority: Annotated[
        int, Field(ge=0, le=HIGHEST_PRIORITY, description="Greater is served first; staff only")
    ] = 0

    @model_validator(mode="after")
    def somebody(self) -> SignUpsIn:
        if (self.person_ids is None) == (self.person_id is None):
            raise PydanticCustomError(
                "signup.who", N_("Give either person_ids or person_id."), {"where": "person_ids"}
            )
        return self

    @property
    def people(self) -> list[str]:
        return [self.person_id] if self.person_id else list(self.person_ids or [])


class SignUpsOut(BaseModel):
    sign_ups: list[SignUpOut]


class AttendanceIn(_In):
    person_id: Id
    present: bool


class RegisterIn(_In):
    """The whole register: who has a confirmed place and is not named was absent."""

    entries: Annotated[list[AttendanceIn], Field(max_length=MOST)]
    revision: Annotated[
        int | None,
        Field(ge=0, description="The register that you looked at; refused when it has changed"),
    ] = None

    @model_validator(mode="after")
    def each_once(self) -> RegisterIn:
        if len({entry.person_id for entry in self.entries}) < len(self.entries):
            raise PydanticCustomError("register.twice", N_("A person is named twice."))
        return self


class AttendanceOut(BaseModel):
    """``present`` is null until the register was taken; ``expected`` had a confirmed place."""

    person_id: str
    present: bool | None
    expected: bool
    revision: int


class RegisterOut(BaseModel):
    session_id: str
    revision: Annotated[int, Field(description="0 until it was taken; grows when it changes")]
    present: int
    absent: int
    taken_at: datetime | None
    entries: list[AttendanceOut]


class OfferHoldIn(_In):
    """From ``from_time`` on (now), an offered place is kept so many hours."""

    hours: Annotated[int, Field(ge=1, le=LONGEST_HOLD, examples=[24])]
    activity_id: Annotated[Id | None, Field(description="The whole centre when left out")] = None
    from_time: AwareDatetime | None = None
    centre_id: Annotated[
        Id | None, Field(description="Only for administrators of the whole foundation")
    ] = None


class OfferHoldOut(BaseModel):
    hours: int
    activity_id: str
    centre_id: str


@router.post("/activities", status_code=201)
async def create_activity(body: ActivityIn, call: Writer) -> ActivityOut:
    """Create an activity."""
    centre_id = call.centre_or(body.centre_id)
    values = body.model_dump(exclude={"centre_id"})
    made = await call.command(
        lambda tx: commands.create_activity(tx, centre_id, **values), centre=centre_id
    )
    return await _activity(call, made.id)


@router.get("/activities")
async def list_activities(call: Reader, paged: Paged) -> Page[ActivityOut]:
    """Activities of your centre by title."""
    who = by(call)
    page = await call.query(lambda c: queries.activities(c, who.centre_id, paged))
    return Page(items=[_activity_out(view) for view in page.items], next=page.next)


@router.get("/activities/{activity_id}")
async def get_activity(activity_id: str, call: Reader) -> ActivityOut:
    """One activity."""
    return await _activity(call, activity_id)


@router.post("/activities/{activity_id}/sessions", status_code=201)
async def schedule_session(activity_id: str, body: SessionIn, call: Writer) -> SessionsMadeOut:
    """Schedule a session of an activity, or a weekly series."""
    who = by(call)
    made = await call.command(
        lambda tx: commands.schedule_sessions(tx, who, activity_id, **body.model_dump())
    )
    view = await call.query(lambda c: queries.session(c, who, made.ids[0]))
    return SessionsMadeOut(**_session_values(view), series=list(made.ids))


@router.get("/sessions")
async def list_sessions(
    call: Reader,
    paged: Paged,
    from_: Annotated[AwareDatetime | None, Query(alias="from", description="Begins then")] = None,
    to: Annotated[AwareDatetime | None, Query(description="Begins before")] = None,
    activity_id: Annotated[str, Query(max_length=64)] = "",
    register: Annotated[
        str, Query(pattern="^(missing)?$", description="`missing`: past, with no register")
    ] = "",
) -> Page[SessionOut]:
    """Sessions of your centre by their beginning; those without a register latest first."""
    who = by(call)
    page = await call.query(
        lambda c: queries.sessions(
            c,
            who.centre_id,
            paged,
            since=from_,
            until=to,
            activity_id=activity_id,
            without_register_at=call.parts.clock.now() if register else None,
        )
    )
    return Page(items=[SessionOut(**_session_values(v)) for v in page.items], next=page.next)


@router.get("/sessions/{session_id}")
async def get_session(session_id: str, call: Reader) -> SessionWithSignUps:
    """One session: counts, places left, and the sign-ups that you may see."""
    return await _session(call, session_id)


@router.patch("/sessions/{session_id}")
async def change_session(session_id: str, body: SessionChange, call: Writer) -> SessionWithSignUps:
    """Change the number of places; when there are more, the next in the list get offers."""
    who = by(call)
    await call.command(lambda tx: commands.set_capacity(tx, who, session_id, body.capacity))
    return await _session(call, session_id)


@router.post("/sessions/{session_id}/cancel")
async def cancel_session(
    session_id: str, call: Writer, body: CancelIn | None = None
) -> SessionWithSignUps:
    """It does not take place; everybody signed up is told. Again: the same answer."""
    who = by(call)
    reason = body.reason if body else ""
    await call.command(lambda tx: commands.cancel_session(tx, who, session_id, reason))
    return await _session(call, session_id)


@router.post("/sessions/{session_id}/sign-ups", status_code=201)
async def sign_up(session_id: str, body: SignUpsIn, call: SignsUp) -> SignUpsOut:
    """Sign people up: each is confirmed or waits. Nothing is done when one is refused."""
    who = by(call)
    made = await call.command(
        lambda tx: commands.sign_up(
            tx, who, session_id, body.people, together=body.together, priority=body.priority
        )
    )
    return SignUpsOut(sign_ups=[_made_out(one) for one in made])


@router.post("/sign-ups/{sign_up_id}/accept")
async def accept(sign_up_id: str, call: SignsUp) -> SignUpOut:
    """Take the offered place; siblings who come together take theirs with it."""
    who = by(call)
    return _made_out(await call.command(lambda tx: commands.accept(tx, who, sign_up_id)))


@router.post("/sign-ups/{sign_up_id}/decline")
async def decline(sign_up_id: str, call: SignsUp) -> SignUpOut:
    """Leave the offered place to the next; siblings who come together leave theirs with it."""
    who = by(call)
    return _made_out(await call.command(lambda tx: commands.decline(tx, who, sign_up_id)))


@router.post("/sign-ups/{sign_up_id}/cancel")
async def cancel(sign_up_id: str, call: SignsUp) -> SignUpOut:
    """ "I can't come": the place goes to the next; siblings keep theirs."""
    who = by(call)
    return _made_out(await call.command(lambda tx: commands.cancel(tx, who, sign_up_id)))


@router.get("/sessions/{session_id}/register")
async def get_register(session_id: str, call: Staff) -> RegisterOut:
    """The attendance register: everybody with a place, and walk-ins."""
    return await _register(call, session_id)


@router.put("/sessions/{session_id}/register")
async def take_register(session_id: str, body: RegisterIn, call: Writer) -> RegisterOut:
    """Take the whole register; sent again it changes nothing."""
    who = by(call)
    named = {entry.person_id: entry.present for entry in body.entries}
    await call.command(
        lambda tx: commands.take_register(tx, who, session_id, named, seen_revision=body.revision)
    )
    return await _register(call, session_id)


@router.post("/offer-holds", status_code=201)
async def set_offer_hold(body: OfferHoldIn, call: Sets) -> OfferHoldOut:
    """Set how long an offered place is kept, from a time on. Offers that are out are untouched."""
    who = by(call)
    centre_id = call.centre_or(body.centre_id) if not body.activity_id else call.centre
    activity_id = body.activity_id or ""
    await call.command(
        lambda tx: commands.set_offer_hold(
            tx,
            who,
            hours=body.hours,
            activity_id=activity_id,
            centre_id=centre_id,
            from_time=body.from_time,
        )
    )
    return OfferHoldOut(hours=body.hours, activity_id=activity_id, centre_id=centre_id)


async def _activity(call: Call, activity_id: str) -> ActivityOut:
    who, now = by(call), call.parts.clock.now()
    return _activity_out(await call.query(lambda c: queries.activity(c, who, activity_id, now)))


async def _session(call: Call, session_id: str) -> SessionWithSignUps:
    who = by(call)
    view, sign_ups = await call.query(
        lambda c: (
            queries.session(c, who, session_id),
            queries.sign_ups(c, session_id, who.household_id),
        )
    )
    return SessionWithSignUps(
        **_session_values(view), sign_ups=[_sign_up_out(one) for one in sign_ups]
    )


async def _register(call: Call, session_id: str) -> RegisterOut:
    who = by(call)
    view, rows = await call.query(
        lambda c: (queries.session(c, who, session_id), queries.register(c, session_id))
    )
    return RegisterOut(
        session_id=session_id,
        revision=view.register_revision,
        present=view.register_present,
        absent=view.register_absent,
        taken_at=view.register_taken_at,
        entries=[
            AttendanceOut(
                person_id=row.person_id,
                present=row.present,
                expected=row.expected,
                revision=row.revision,
            )
            for row in rows
        ],
    )


def _activity_out(view: ActivityView) -> ActivityOut:
    return ActivityOut.model_validate(view, from_attributes=True)


def _session_values(view: SessionView) -> dict[str, Any]:
    values = {
        name: getattr(view, name)
        for name in SessionOut.model_fields
        if name != "waiting_list_policy"
    }
    return values | {"waiting_list_policy": view.policy}


def _made_out(made: SignUpMade) -> SignUpOut:
    return SignUpOut.model_validate(made, from_attributes=True)


def _sign_up_out(view: SignUpView) -> SignUpOut:
    one = view.sign_up
    return SignUpOut(
        id=one.id,
        session_id=one.session_id,
        person_id=one.person_id,
        state=one.state,
        position=view.position,
        answer_by=one.answer_by if one.state is State.OFFERED else None,
    )
