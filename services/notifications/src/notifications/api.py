"""The HTTP API of notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contracts.notifications import Channel
from notifications import commands, queries, store, texts
from notifications.access import (
    CALL,
    READ,
    READ_SCOPE,
    SEND,
    WRITE_SCOPE,
    sight_of,
)
from notifications.commands.wishes import household_in
from notifications.domain.delivery import State
from notifications.domain.kinds import Kind, rule_of
from notifications.domain.preferences import Preferences
from notifications.domain.quiet_hours import Hours
from notifications.queries import CallView, Filter, MessageView
from web import Call, Page, Paged, Role, allow

router = APIRouter(prefix="/notifications/api", tags=["notifications"])

Reader = Annotated[Call, Depends(allow(*READ, scope=READ_SCOPE))]
Sender = Annotated[Call, Depends(allow(*SEND, scope=WRITE_SCOPE))]
CallsReader = Annotated[Call, Depends(allow(*CALL, scope=READ_SCOPE))]
CallsWriter = Annotated[Call, Depends(allow(*CALL, scope=WRITE_SCOPE))]
WishesReader = Annotated[Call, Depends(allow(*CALL, Role.FAMILY, scope=READ_SCOPE))]
WishesWriter = Annotated[Call, Depends(allow(*CALL, Role.FAMILY, scope=WRITE_SCOPE))]
HoursReader = Annotated[Call, Depends(allow(*SEND, scope=READ_SCOPE))]

AnyId = Annotated[str, Path(max_length=64)]
Id = Annotated[str, Query(max_length=64)]


class MessageOut(BaseModel):
    """A message, with its text in the language of the request."""

    id: str
    kind: str = Field(examples=["signup_offered"])
    centre_id: str
    household_id: str
    person_id: str = Field(description="The recipient: who signed up, or the holder")
    state: State = Field(
        description="How it stands: as its e-mail, or delivered when only the inbox has it"
    )
    subject: str
    text: str
    created_at: datetime
    read_at: datetime | None


class AttemptOut(BaseModel):
    """One time at which the mail server was asked."""

    at: datetime
    ended_at: datetime | None = Field(description="null: it has not answered yet")
    answer: str = Field(description="taken, later, never, lost; empty until it answers")
    code: str = Field(description="The server's code, or what happened", examples=["250", "550"])


class DeliveryOut(BaseModel):
    """One way of a message."""

    channel: Channel
    state: State
    why: str = Field(description="Why it waits or was not sent", examples=["quiet_hours"])
    tries: int
    created_at: datetime
    next_attempt: datetime | None
    ended_at: datetime | None
    attempts: list[AttemptOut]


class MessageWithDeliveries(MessageOut):
    """In the order of the chain: the inbox, e-mail, a call."""

    deliveries: list[DeliveryOut]


class CallOut(BaseModel):
    """Somebody to call, because no e-mail reaches them."""

    id: str
    message_id: str
    kind: str
    household_id: str
    person_id: str
    name: str = Field(description="Whom to ask for", examples=["Maria Rossi"])
    phone: str = Field(description="E.164; empty: nobody knows one", examples=["+393331234567"])
    language: str = Field(description="BCP 47; empty: nobody knows", examples=["ar"])
    subject: str
    text: str
    since: datetime
    useful_until: datetime | None = Field(description="A call after this is of no use")


class CallDoneIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reached: bool = Field(True, description="false: called, but the person was not reached")


class PreferencesOut(Preferences):
    """What a household wants to get; what is not named is wanted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    household_id: str
    always_sent: list[Kind] = Field(description="Kinds that cannot be switched off")


class HoursIn(BaseModel):
    """Hours that hold from a moment on (from now when it is left out)."""

    model_config = ConfigDict(extra="forbid")

    hours: Hours
    from_time: AwareDatetime | None = None


class HoursOut(BaseModel):
    """The hours that hold at a moment."""

    centre_id: str
    at: datetime
    hours: Hours


@router.get("/messages")
async def list_messages(
    call: Reader,
    paging: Paged,
    household_id: Id = "",
    person_id: Id = "",
    state: Annotated[
        State | None, Query(description="With a channel: the state by this channel")
    ] = None,
    kind: Kind | None = None,
    channel: Channel | None = None,
) -> Page[MessageOut]:
    """Messages, newest first. Staff see those of their centre, a family its own."""
    wanted = Filter(
        household_id=household_id,
        person_id=person_id,
        state=state.value if state else "",
        kind=kind.value if kind else "",
        channel=channel.value if channel else "",
    )
    sight = sight_of(call)
    page = await call.query(lambda c: queries.messages(c, sight, wanted, paging))
    return Page(items=[_message(call, one) for one in page.items], next=page.next)


@router.get("/messages/{message_id}")
async def show_message(call: Reader, message_id: AnyId) -> MessageWithDeliveries:
    """One message with its deliveries, their states and times."""
    return await _whole(call, message_id)


@router.post("/messages/{message_id}/send-again")
async def send_again(call: Sender, message_id: AnyId) -> MessageWithDeliveries:
    """Try a failed e-mail anew. One whose answer was lost is never sent again."""
    centre = call.centre
    await call.command(lambda tx: commands.send_again(tx, message_id, centre_id=centre))
    return await _whole(call, message_id)


@router.get("/calls")
async def list_calls(call: CallsReader, paging: Paged) -> Page[CallOut]:
    """Whom to call, the most urgent first."""
    centre, now = call.centre, call.parts.clock.now()
    page = await call.query(lambda c: queries.calls(c, centre, paging, now=now))
    return Page(items=[_call(call, one) for one in page.items], next=page.next)


@router.post("/calls/{call_id}/done", status_code=204)
async def call_done(call: CallsWriter, call_id: AnyId, body: CallDoneIn | None = None) -> None:
    """Somebody called; it leaves the list."""
    reached = (body or CallDoneIn(reached=True)).reached
    centre = call.centre
    await call.command(
        lambda tx: commands.call_done(tx, call_id, reached=reached, centre_id=centre)
    )


@router.get("/households/{household_id}/preferences")
async def show_preferences(call: WishesReader, household_id: AnyId) -> PreferencesOut:
    """What a household wants to get."""
    household_id, centre = _own(call, household_id)

    def read(connection: Any) -> Preferences:
        household_in(connection, household_id, centre_id=centre)
        return store.preferences_of(connection, household_id)

    return _preferences(household_id, await call.query(read))


@router.put("/households/{household_id}/preferences")
async def put_preferences(
    call: WishesWriter, household_id: AnyId, body: Preferences
) -> PreferencesOut:
    """What a household wants to get from now on."""
    household_id, centre = _own(call, household_id)
    wanted = await call.command(
        lambda tx: commands.set_preferences(tx, household_id, body, centre_id=centre)
    )
    return _preferences(household_id, wanted)


@router.get("/quiet-hours")
async def show_hours(
    call: HoursReader,
    centre_id: Annotated[Id | None, Query(description="For the foundation")] = None,
    at: AwareDatetime | None = None,
) -> HoursOut:
    """When messages of a centre may leave."""
    centre = call.centre_or(centre_id)
    moment = at or call.parts.clock.now()
    hours = await call.query(lambda c: store.hours_of(c, centre, moment))
    return HoursOut(centre_id=centre, at=moment, hours=hours)


@router.put("/quiet-hours")
async def put_hours(
    call: Sender,
    body: HoursIn,
    centre_id: Annotated[Id | None, Query(description="For the foundation")] = None,
) -> HoursOut:
    """When messages of a centre may leave, from a moment on."""
    centre = call.centre_or(centre_id)
    moment = body.from_time or call.parts.clock.now()
    await call.command(
        lambda tx: commands.set_hours(tx, centre, body.hours, from_time=moment), centre=centre
    )
    return HoursOut(centre_id=centre, at=moment, hours=body.hours)


async def _whole(call: Call, message_id: str) -> MessageWithDeliveries:
    sight = sight_of(call)

    def read(connection: Any) -> tuple[MessageView, list[queries.DeliveryView]]:
        return (
            queries.message(connection, sight, message_id),
            queries.deliveries(connection, message_id),
        )

    message, deliveries = await call.query(read)
    return MessageWithDeliveries(
        **_message(call, message).model_dump(),
        deliveries=[
            DeliveryOut(
                channel=Channel(one.channel),
                state=State(one.state),
                why=one.why,
                tries=one.tries,
                created_at=one.created_at,
                next_attempt=one.next_attempt,
                ended_at=one.ended_at,
                attempts=[
                    AttemptOut(at=a.at, ended_at=a.ended_at, answer=a.answer, code=a.code)
                    for a in one.attempts
                ],
            )
            for one in deliveries
        ],
    )


def _own(call: Call, household_id: str) -> tuple[str, str]:
    """The household and the centre to look in; another household of a family is not there, also
    when the family works in the house by a role that may not do this."""
    if call.caller.has(*CALL):
        return household_id, call.centre
    return (household_id if call.caller.household_id == household_id else ""), call.centre


def _message(call: Call, one: MessageView) -> MessageOut:
    said = texts.say(call.to, one.kind, one.data, zone=one.zone, name=one.name)
    return MessageOut(
        id=one.id,
        kind=one.kind,
        centre_id=one.centre_id,
        household_id=one.household_id,
        person_id=one.person_id,
        state=State(one.state),
        subject=said.subject,
        text="\n".join(said.sentences),
        created_at=one.created_at,
        read_at=one.read_at,
    )


def _call(call: Call, one: CallView) -> CallOut:
    said = texts.say(
        call.to, one.message.kind, one.message.data, zone=one.message.zone, name=one.message.name
    )
    return CallOut(
        id=one.id,
        message_id=one.message.id,
        kind=one.message.kind,
        household_id=one.message.household_id,
        person_id=one.message.person_id,
        name=one.person_name,
        phone=one.phone,
        language=one.language,
        subject=said.subject,
        text="\n".join(said.sentences),
        since=one.since,
        useful_until=one.message.useful_until,
    )


def _preferences(household_id: str, wanted: Preferences) -> PreferencesOut:
    return PreferencesOut(
        household_id=household_id,
        everything=wanted.everything,
        kinds=wanted.kinds,
        channels=wanted.channels,
        always_sent=[kind for kind in Kind if rule_of(kind).always],
    )
