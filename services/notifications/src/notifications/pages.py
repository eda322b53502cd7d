"""The pages of notifications: server-rendered, working without JavaScript."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel
from starlette.responses import Response

from contracts.notifications import Channel
from notifications import commands, queries, store, texts, words
from notifications.access import CALL, SEND, own_sight, sight_of
from notifications.domain.delivery import FAILED, State, of_no_use
from notifications.domain.kinds import OPTIONAL, Kind, rule_of
from notifications.domain.preferences import Preferences
from notifications.live import INBOX
from notifications.queries import Filter, MessageView
from notifications.texts import Said
from runtime.refusals import N_, NotAllowed
from web import Call, Form, Paged, Role, allow, live
from web.roles import STAFF

router = APIRouter(prefix="/notifications", include_in_schema=False)

Anybody = Annotated[Call, Depends(allow())]
Family = Annotated[Call, Depends(allow(Role.FAMILY))]
Staff = Annotated[Call, Depends(allow(*STAFF))]
Sender = Annotated[Call, Depends(allow(*SEND))]
Caller = Annotated[Call, Depends(allow(*CALL))]
AnyId = Annotated[str, Path(max_length=64)]

SWITCHES = (Channel.EMAIL,)
"""Channels that this build has and that a household may switch off."""


class ReadForm(BaseModel):
    """Nothing is typed: the button says it all."""


class CallForm(BaseModel):
    reached: bool


class FilterForm(BaseModel):
    state: str = ""
    kind: str = ""
    channel: str = ""


class PreferencesForm(BaseModel):
    everything: bool = False
    kinds: list[Kind] = []
    channels: list[Channel] = []


@live.channel("notifications", INBOX)
async def may_listen(call: Call, household_id: str) -> bool:
    """The family itself, of the household's centre."""
    if not household_id or call.caller.household_id != household_id:
        return False
    home = await call.query(lambda c: store.household(c, household_id))
    return _of_the_centre(call, home)


# the family


@router.get("/inbox")
async def inbox(call: Anybody, paging: Paged) -> Response:
    """What the household was told, newest first. The staff have the list of their centre; who is
    both has its own here, with the way to the others."""
    staff = call.caller.staff
    if staff and not call.caller.has(Role.FAMILY):
        return call.redirect("/notifications/messages")
    household_id = call.caller.household_id

    def read(connection: Any) -> tuple[Any, int]:
        sight = own_sight(call)
        return (
            queries.messages(connection, sight, Filter(), paging),
            queries.unread(connection, sight),
        )

    page, unread = await call.query(read)
    return call.render(
        "inbox.html",
        page=page,
        unread=unread,
        household_id=household_id,
        staff=staff,
        messages=[(one, _said(call, one)) for one in page.items],
    )


@router.post("/inbox/read")
async def read_all(call: Family) -> Response:
    """All of them are read."""
    me = call.caller
    await call.command(lambda tx: commands.mark_read(tx, me.household_id, centre_id=me.centre_id))
    return call.redirect("/notifications/inbox")


@router.post("/inbox/{message_id}/read")
async def read_one(call: Family, message_id: AnyId) -> Response:
    me = call.caller
    await call.command(
        lambda tx: commands.mark_read(tx, me.household_id, message_id, centre_id=me.centre_id)
    )
    return call.redirect("/notifications/inbox")


@router.get("/preferences")
async def preferences(call: Family, saved: bool = False) -> Response:
    household_id = _household(call)

    def read(connection: Any) -> Preferences:
        ours = _of_the_centre(call, store.household(connection, household_id))
        return store.preferences_of(connection, household_id) if ours else Preferences()

    wanted = await call.query(read)
    form = call.blank(
        PreferencesForm,
        {
            "everything": wanted.everything,
            "kinds": [kind.value for kind in OPTIONAL if wanted.kinds.get(kind, True)],
            "channels": [one.value for one in SWITCHES if wanted.channels.get(one, True)],
        },
    )
    return _preferences(call, form, saved=saved)


@router.post("/preferences")
async def save_preferences(call: Family) -> Response:
    household_id = _household(call)
    form = await call.form(PreferencesForm)
    centre = call.centre
    await form.command(
        lambda tx: commands.set_preferences(tx, household_id, _wanted(form.data), centre_id=centre)
    )
    if form.ok:
        return call.redirect("/notifications/preferences?saved=true")
    return _preferences(call, form)


# the staff


@router.get("/messages")
async def messages(
    call: Staff, paging: Paged, state: str = "", kind: str = "", channel: str = ""
) -> Response:
    """Messages of the centre; a filter that nobody knows is none."""
    wanted = Filter(
        state=state if state in words.STATES else "",
        kind=kind if kind in texts.KIND_NAMES else "",
        channel=channel if channel in words.CHANNELS else "",
    )
    sight = sight_of(call)
    page = await call.query(lambda c: queries.messages(c, sight, wanted, paging))
    kinds = {k: name for k, name in texts.KIND_NAMES.items() if k not in sight.hidden}
    query = "&".join(
        f"{name}={value}"
        for name, value in (
            ("state", wanted.state),
            ("kind", wanted.kind),
            ("channel", wanted.channel),
        )
        if value
    )
    return call.render(
        "messages.html",
        page=page,
        query=query,
        form=call.blank(
            FilterForm, {"state": wanted.state, "kind": wanted.kind, "channel": wanted.channel}
        ),
        states=_options(call, words.STATES),
        kinds=_options(call, kinds),
        channels=_options(call, words.CHANNELS),
        messages=[(one, _said(call, one)) for one in page.items],
        kind_names=texts.KIND_NAMES,
        state_names=words.STATES,
        may_call=call.caller.has(*CALL),
    )


@router.get("/messages/{message_id}")
async def message(call: Staff, message_id: AnyId) -> Response:
    return await _message(call, message_id, call.blank(ReadForm))


@router.post("/messages/{message_id}/send-again")
async def send_again(call: Sender, message_id: AnyId) -> Response:
    centre = call.centre
    form = await call.form(ReadForm)
    await form.command(lambda tx: commands.send_again(tx, message_id, centre_id=centre))
    if form.ok:
        return call.redirect(f"/notifications/messages/{message_id}")
    return await _message(call, message_id, form)


@router.get("/calls")
async def calls(call: Caller, paging: Paged) -> Response:
    """Whom to call."""
    return await _calls(call, paging, call.blank(CallForm))


@router.post("/calls/{call_id}/done")
async def call_done(call: Caller, paging: Paged, call_id: AnyId) -> Response:
    centre = call.centre
    form = await call.form(CallForm)
    await form.command(
        lambda tx: commands.call_done(tx, call_id, reached=form.data.reached, centre_id=centre)
    )
    if form.ok:
        return call.redirect("/notifications/calls")
    return await _calls(call, paging, form)


async def _message(call: Call, message_id: str, form: Form[ReadForm]) -> Response:
    sight = sight_of(call)

    def read(connection: Any) -> tuple[MessageView, list[queries.DeliveryView]]:
        return (
            queries.message(connection, sight, message_id),
            queries.deliveries(connection, message_id),
        )

    found, deliveries = await call.query(read)
    return call.render(
        "message.html",
        form.status,
        message=found,
        said=_said(call, found),
        deliveries=deliveries,
        form=form,
        may_send=call.caller.has(*SEND)
        and not of_no_use(found.useful_until, call.parts.clock.now())
        and any(one.channel == Channel.EMAIL and one.state in FAILED for one in deliveries),
        lost=any(one.state == State.UNKNOWN for one in deliveries),
        kind_names=texts.KIND_NAMES,
        state_names=words.STATES,
        channel_names=words.CHANNELS,
        reasons=words.REASONS,
        answers=words.ANSWERS,
    )


async def _calls(call: Call, paging: Any, form: Form[CallForm]) -> Response:
    centre, now = call.centre, call.parts.clock.now()
    page = await call.query(lambda c: queries.calls(c, centre, paging, now=now))
    return call.render(
        "calls.html",
        form.status,
        page=page,
        form=form,
        calls=[(one, _said(call, one.message)) for one in page.items],
    )


def _preferences(call: Call, form: Form[PreferencesForm], *, saved: bool = False) -> Response:
    return call.render(
        "preferences.html",
        form.status,
        form=form,
        saved=saved,
        kinds=[(kind.value, texts.kind_name(call.to, kind)) for kind in OPTIONAL],
        channels=[(one.value, call.say(words.CHANNELS[one])) for one in SWITCHES],
        always=[texts.kind_name(call.to, kind) for kind in Kind if rule_of(kind).always],
    )


def _wanted(form: PreferencesForm) -> Preferences:
    return Preferences(
        everything=form.everything,
        kinds={kind: kind in form.kinds for kind in OPTIONAL},
        channels={one: one in form.channels for one in SWITCHES},
    )


def _household(call: Call) -> str:
    """The family's household. Raises NotAllowed when its sign-in names none."""
    if not call.caller.household_id:
        raise NotAllowed(
            "auth.household_missing",
            N_("Your sign-in is not connected to a household yet."),
            N_("Ask at the desk of your centre."),
        )
    return call.caller.household_id


def _of_the_centre(call: Call, home: Any) -> bool:
    """Whether a household is one of the caller's centre: identity links what it cannot know."""
    return home is not None and call.centre in ("", home.centre_id)


def _said(call: Call, one: MessageView) -> Said:
    return texts.say(call.to, one.kind, one.data, zone=one.zone, name=one.name)


def _options(call: Call, names: Any) -> list[tuple[str, str]]:
    return [(str(value), call.say(name)) for value, name in names.items()]
