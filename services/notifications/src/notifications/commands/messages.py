"""A message is made, read, sent again, forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from contracts.notifications import Channel
from messaging import Transaction
from notifications import live, store
from notifications.commands import states
from notifications.domain import delivery as domain
from notifications.domain.delivery import State, Why
from notifications.domain.kinds import Kind, rule_of
from notifications.domain.preferences import refused
from notifications.domain.quiet_hours import leaves_at
from runtime.ids import derived
from runtime.refusals import N_, NotFound, Refusal

_MADE = "messages.made"


@dataclass(frozen=True)
class News:
    """What somebody is to be told. ``data``: what the sentences need, without names.

    ``told_at`` is the time of the event. ``about`` is the sign-up that it is of, if any, and
    ``happened_at`` the stamp that the sign-up's fact carries itself: what happened later to the
    same sign-up overtakes it.
    """

    intent: str
    kind: Kind
    centre_id: str
    household_id: str
    person_id: str
    told_at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    useful_until: datetime | None = None
    about: str | None = None
    happened_at: datetime | None = None


def message_id(intent: str, person_id: str) -> str:
    """The id of the message that tells this person of this event."""
    return derived("message", intent, person_id)


def tell(tx: Transaction, news: News) -> str | None:
    """Make the message: into the inbox at once, by e-mail as soon as it may leave.

    Gives its id; None when there is nobody to tell, or the person was told already (I4).
    """
    made = message_id(news.intent, news.person_id)
    if _known(tx.connection, made) or is_erased(tx.connection, news.person_id):
        return None
    why, _ = way(tx.connection, news.kind, news.person_id, news.household_id)
    if tx.now - news.told_at > domain.TOO_OLD:
        why = Why.OLD
    elif _is_overtaken(tx.connection, news):
        why = Why.OVERTAKEN
    waits = why in (Why.NOTHING, Why.CONTACT)
    made_at = _made_at(tx)
    message = SimpleNamespace(
        id=made,
        intent=news.intent,
        kind=news.kind.value,
        centre_id=news.centre_id,
        household_id=news.household_id,
        person_id=news.person_id,
        data=dict(news.data),
        useful_until=news.useful_until,
        state=domain.of_message(State.CREATED if waits else None).value,
        correlation=tx.correlation,
        created_at=made_at,
        about=news.about,
        happened_at=news.happened_at,
    )
    tx.collect(store.message, vars(message))
    tx.collect(
        store.delivery,
        states.delivery_row(message, Channel.IN_APP, State.DELIVERED, now=made_at),
    )
    states.tell(tx, message, Channel.IN_APP, State.DELIVERED)
    live.inbox_changed(tx, news.household_id)
    if waits:
        due_at = may_leave(tx.connection, message, tx.now)
        look_at = due_at
        if why is Why.CONTACT:
            look_at = max(due_at, domain.wait_for_contact(tx.now, tx.now) or due_at)
        elif due_at > tx.now:
            why = Why.QUIET_HOURS
        tx.collect(
            store.delivery,
            states.delivery_row(
                message,
                Channel.EMAIL,
                State.CREATED,
                now=made_at,
                why=why,
                due_at=due_at,
                next_attempt=look_at,
            ),
        )
        live.mail_waits(tx)
    else:
        tx.collect(
            store.delivery,
            states.delivery_row(message, Channel.EMAIL, State.NOT_SENT, now=made_at, why=why),
        )
        if rule_of(news.kind).needs_call and why not in (Why.OLD, Why.OVERTAKEN):
            states.call(tx, message)
    return made


def way(
    connection: sa.Connection, kind: str, person_id: str, household_id: str
) -> tuple[Why, store.Contact]:
    """Whether an e-mail of this kind may go to a person now, and where to."""
    contact = store.contact(connection, person_id, household_id)
    if not contact.known:
        return Why.CONTACT, contact
    wishes = store.preferences_of(connection, household_id)
    why = refused(kind, Channel.EMAIL, wishes, consent=contact.consent)
    if why is Why.NOTHING and not contact.address:
        why = Why.NO_ADDRESS
    return why, contact


def may_leave(connection: sa.Connection, message: sa.Row[Any] | Any, ready: datetime) -> datetime:
    """When a message that is ready at a moment may leave, by the hours of its centre."""
    centre = store.centre(connection, message.centre_id)
    return leaves_at(
        ready,
        store.hours_of(connection, message.centre_id, ready),
        centre.zone,
        centre.region,
        useful_until=message.useful_until,
    )


def is_erased(connection: sa.Connection, person_id: str) -> bool:
    """Whether the person was forgotten: nothing is told any more, whatever comes late."""
    contact = store.person_contact.c
    return bool(connection.scalar(sa.select(contact.erased).where(contact.person_id == person_id)))


def mark_read(
    tx: Transaction, household_id: str, message_id: str | None = None, *, centre_id: str = ""
) -> int:
    """The household has read a message, or all of them; gives how many were unread.

    With ``centre_id`` only those of that centre: a sign-in may name a household of another.

    Raises NotFound for a message that is not the household's.
    """
    message = store.message.c
    mine = message.household_id == household_id
    if centre_id:
        mine = sa.and_(mine, message.centre_id == centre_id)
    if message_id is not None:
        mine = sa.and_(mine, message.id == message_id)
        if tx.connection.scalar(sa.select(message.id).where(mine)) is None:
            raise unknown()
    done = tx.connection.execute(
        sa.update(store.message).where(mine, message.read_at.is_(None)).values(read_at=tx.now)
    )
    if done.rowcount:
        live.inbox_changed(tx, household_id)
    return done.rowcount


def send_again(tx: Transaction, message_id: str, *, centre_id: str = "") -> None:
    """Try a failed e-mail anew, with all its retries. ``centre_id`` "" is the foundation.

    Raises:
        NotFound: there is none in this centre.
        Refusal: ``message.outcome_unknown`` when it may have arrived (I4); ``message.not_failed``;
            ``message.of_no_use`` when it is too late to tell.
    """
    row = tx.connection.execute(
        sa.select(store.delivery)
        .where(
            store.delivery.c.message_id == message_id,
            store.delivery.c.channel == Channel.EMAIL.value,
        )
        .with_for_update()
    ).one_or_none()
    message = message_row(tx.connection, message_id)
    if message is None or centre_id not in ("", message.centre_id):
        raise unknown()
    if row is not None and row.state == State.UNKNOWN:
        raise Refusal(
            "message.outcome_unknown",
            N_("Nobody knows whether this e-mail arrived: it is never sent twice."),
            N_("Call the person, or tell them at the desk."),
        )
    if row is None or row.state not in domain.FAILED:
        raise Refusal(
            "message.not_failed",
            N_("Only an e-mail that failed can be sent again."),
            N_("Look at how the message stands now."),
        )
    if domain.of_no_use(message.useful_until, tx.now):
        raise Refusal(
            "message.of_no_use",
            N_("This e-mail is of no use any more: there is newer news, or it is too late."),
            N_("Call the person, or tell them at the desk."),
        )
    leaves = may_leave(tx.connection, message, tx.now)
    states.move(tx, row, message, State.CREATED, tries=0, next_attempt=leaves, due_at=leaves)
    live.mail_waits(tx)


def forget_person(tx: Transaction, person_id: str) -> None:
    """A person is erased: their messages, deliveries and addresses go."""
    rows = tx.connection.execute(
        sa.select(store.delivery.c.id)
        .where(store.delivery.c.person_id == person_id)
        .order_by(store.delivery.c.id)
        .with_for_update()
    )
    for part in _parts([row.id for row in rows]):
        tx.connection.execute(sa.delete(store.attempt).where(store.attempt.c.delivery_id.in_(part)))
    for table in (store.delivery, store.message, store.unreachable):
        tx.connection.execute(sa.delete(table).where(table.c.person_id == person_id))


def message_row(connection: sa.Connection, message_id: str) -> sa.Row[Any] | None:
    """A message by its id."""
    return connection.execute(
        sa.select(store.message).where(store.message.c.id == message_id)
    ).one_or_none()


def unknown() -> NotFound:
    """What is said of a message that is not there, or not for the caller."""
    return NotFound(
        "message.unknown", N_("There is no such message."), N_("Go back to the list of messages.")
    )


def _made_at(tx: Transaction) -> datetime:
    """Now, and a microsecond later for each message that the transaction has made: one settles many
    facts, and their messages leave in the order in which they were made."""
    number = tx.memo[_MADE] = tx.memo.get(_MADE, -1) + 1
    return tx.now + timedelta(microseconds=number)


def _known(connection: sa.Connection, message_id: str) -> bool:
    found = connection.scalar(sa.select(store.message.c.id).where(store.message.c.id == message_id))
    return found is not None


def _is_overtaken(connection: sa.Connection, news: News) -> bool:
    """Whether something later was told of its sign-up: a fact may come late, tried once more."""
    if news.about is None:
        return False
    message = store.message.c
    later = sa.exists().where(message.about == news.about, message.happened_at > news.happened_at)
    return bool(connection.scalar(sa.select(later)))


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + 500] for start in range(0, len(ids), 500)]
