"""The read side: lists by key, one message with its history, calls to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from contracts.notifications import Channel
from notifications import store
from notifications.commands.messages import unknown
from notifications.domain.delivery import State
from notifications.domain.quiet_hours import time_zone
from runtime.types import UtcDateTime
from web import Page, Paging

FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Where calls that never become useless stand in their list."""

_message, _delivery, _person = store.message.c, store.delivery.c, store.person_contact.c


@dataclass(frozen=True)
class Sight:
    """What a caller may see: a centre ("" is all), a household (None is all), not some kinds."""

    centre_id: str = ""
    household_id: str | None = None
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Filter:
    """What is looked for; empty fields do not matter."""

    household_id: str = ""
    person_id: str = ""
    state: str = ""
    kind: str = ""
    channel: str = ""


@dataclass(frozen=True)
class MessageView:
    """A message, ready to be said in a language. ``name`` is whom it is about."""

    id: str
    kind: str
    centre_id: str
    household_id: str
    person_id: str
    state: str
    data: Mapping[str, Any]
    useful_until: datetime | None
    created_at: datetime
    read_at: datetime | None
    name: str
    zone: ZoneInfo


@dataclass(frozen=True)
class AttemptView:
    at: datetime
    ended_at: datetime | None
    answer: str
    code: str


@dataclass(frozen=True)
class DeliveryView:
    channel: str
    state: str
    why: str
    tries: int
    created_at: datetime
    next_attempt: datetime | None
    ended_at: datetime | None
    attempts: list[AttemptView]


@dataclass(frozen=True)
class CallView:
    """Somebody to call. ``person_name`` and ``phone`` are those of whom to ask for."""

    id: str
    message: MessageView
    since: datetime
    person_name: str
    phone: str
    language: str


def messages(
    connection: sa.Connection, sight: Sight, wanted: Filter, paging: Paging
) -> Page[MessageView]:
    """Messages newest first. With a channel, ``state`` is that of this channel."""
    statement = _messages()
    few = bool(wanted.household_id or wanted.person_id)
    conditions = _seen(sight, few=few)
    if wanted.household_id:
        conditions.append(_message.household_id == wanted.household_id)
    if wanted.person_id:
        conditions.append(_message.person_id == wanted.person_id)
    if wanted.kind:
        conditions.append(_message.kind == wanted.kind)
    by: list[sa.ColumnElement[Any]] = [_message.created_at, _message.id]
    if wanted.channel:
        this = [_delivery.message_id == _message.id, _delivery.channel == wanted.channel]
        if wanted.state:
            this.append(_delivery.state == wanted.state)
        if few or sight.household_id is not None:
            conditions.append(sa.exists().where(*this))
        else:
            # Rare states are found by the index of deliveries, not by looking at every message.
            statement = statement.join(store.delivery, sa.and_(*this))
            if sight.centre_id:
                conditions.append(_delivery.centre_id == sight.centre_id)
            by = [_delivery.created_at, _delivery.id]
    elif wanted.state:
        conditions.append(_message.state == wanted.state)
    return paging.read(
        connection, statement.where(*conditions), by=by, show=_shown, newest_first=True
    )


def message(connection: sa.Connection, sight: Sight, message_id: str) -> MessageView:
    """One message. Raises NotFound when there is none that the caller may see."""
    row = connection.execute(
        _messages().where(_message.id == message_id, *_seen(sight))
    ).one_or_none()
    if row is None:
        raise unknown()
    return _shown(row)


def deliveries(connection: sa.Connection, message_id: str) -> list[DeliveryView]:
    """How a message goes its ways, in the order of the chain."""
    attempts: dict[str, list[AttemptView]] = {}
    for row in connection.execute(
        sa.select(store.attempt)
        .join(store.delivery, _delivery.id == store.attempt.c.delivery_id)
        .where(_delivery.message_id == message_id)
        .order_by(store.attempt.c.at, store.attempt.c.lease_id)
    ):
        attempts.setdefault(row.delivery_id, []).append(
            AttemptView(row.at, row.ended_at, row.answer, row.code)
        )
    chain = [channel.value for channel in Channel]
    rows = connection.execute(
        sa.select(store.delivery).where(_delivery.message_id == message_id)
    ).all()
    return [
        DeliveryView(
            channel=row.channel,
            state=row.state,
            why=row.why,
            tries=row.tries,
            created_at=row.created_at,
            next_attempt=row.next_attempt,
            ended_at=row.ended_at,
            attempts=attempts.get(row.id, []),
        )
        for row in sorted(rows, key=lambda row: chain.index(row.channel))
    ]


def unread(connection: sa.Connection, sight: Sight) -> int:
    """How many messages that a household sees are unread, counted up to 100."""
    some = (
        sa.select(_message.id).where(*_seen(sight, few=True), _message.read_at.is_(None)).limit(100)
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(some.subquery())) or 0


def calls(
    connection: sa.Connection, centre_id: str, paging: Paging, *, now: datetime
) -> Page[CallView]:
    """Whom to call, the most urgent first: by the moment until which a call is of use, then by how
    long it waits. What is of no use any more is not said; people without a phone by the holder's.
    """
    holder = store.person_contact.alias("holder")
    home = store.household_seen
    useful_until = sa.func.coalesce(_message.useful_until, sa.literal(FOR_EVER, UtcDateTime()))
    statement = (
        _messages(
            _delivery.id.label("call_id"),
            _delivery.created_at.label("since"),
            _person.family_name,
            _person.phone,
            _person.language,
            holder.c.given_name.label("holder_given"),
            holder.c.family_name.label("holder_family"),
            holder.c.phone.label("holder_phone"),
            holder.c.language.label("holder_language"),
        )
        .join(store.delivery, _delivery.message_id == _message.id)
        .outerjoin(home, home.c.household_id == _message.household_id)
        .outerjoin(holder, holder.c.person_id == home.c.holder_id)
        .where(
            _delivery.channel == Channel.CALL.value,
            _delivery.state == State.CREATED.value,
            useful_until > now,
        )
    )
    if centre_id:
        statement = statement.where(_delivery.centre_id == centre_id)
    return paging.read(
        connection,
        statement,
        by=[useful_until, _delivery.created_at, _delivery.id],
        show=_call_shown,
    )


def _messages(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    centre = store.centre_seen
    return (
        sa.select(
            store.message,
            _person.given_name,
            centre.c.time_zone,
            *more,
        )
        .select_from(store.message)
        .outerjoin(store.person_contact, _person.person_id == _message.person_id)
        .outerjoin(centre, centre.c.centre_id == _message.centre_id)
    )


def _seen(sight: Sight, *, few: bool = False) -> list[sa.ColumnElement[bool]]:
    """``few``: something else finds few rows, so the index of the centre must not be taken; SQLite
    without statistics cannot know."""
    conditions: list[sa.ColumnElement[bool]] = []
    if sight.centre_id:
        centre = _message.centre_id.concat("") if few else _message.centre_id
        conditions.append(centre == sight.centre_id)
    if sight.household_id is not None:
        conditions.append(_message.household_id == sight.household_id)
    if sight.hidden:
        conditions.append(_message.kind.not_in(sorted(sight.hidden)))
    return conditions


def _shown(row: sa.Row[Any]) -> MessageView:
    return MessageView(
        id=row.id,
        kind=row.kind,
        centre_id=row.centre_id,
        household_id=row.household_id,
        person_id=row.person_id,
        state=row.state,
        data=row.data,
        useful_until=row.useful_until,
        created_at=row.created_at,
        read_at=row.read_at,
        name=row.given_name or "",
        zone=time_zone(row.time_zone or ""),
    )


def _call_shown(row: sa.Row[Any]) -> CallView:
    own = bool(row.phone) or not row.holder_phone
    given, family = (
        (row.given_name, row.family_name) if own else (row.holder_given, row.holder_family)
    )
    return CallView(
        id=row.call_id,
        message=_shown(row),
        since=row.since,
        person_name=f"{given or ''} {family or ''}".strip(),
        phone=(row.phone if own else row.holder_phone) or "",
        language=(row.language if own else row.holder_language) or "",
    )
