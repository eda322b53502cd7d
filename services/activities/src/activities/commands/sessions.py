"""A session under its lock: brought up to date, its waiting list moved, its changes saved and told.

The due row of an offer is never taken back: when it comes and the offer was answered, nothing is
done. Taking it back would lock rows the other way round than the job does (row, then session), and
two replicas would deadlock.

Times that order the waiting list (`stamp`) never go back within a session, even when two replicas'
clocks differ; whether something has begun or run out is asked of the clock itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from activities import store
from activities.domain import waiting_list
from activities.domain.waiting_list import State
from activities.live import changed
from activities.store import Session, SignUp
from contracts.activities import (
    OfferExpired,
    SignUpCancelled,
    SignUpConfirmed,
    SignUpOffered,
    SignUpWaitlisted,
)
from messaging import Transaction
from runtime.refusals import N_, NotFound, Refusal

OFFER_EXPIRY = "activities.offer_expiry"
SESSION_BEGINS = "activities.session_begins"


@dataclass(frozen=True)
class By:
    """On whose behalf: the centre ("" is the whole foundation) and, for a family, its household."""

    centre_id: str = ""
    household_id: str | None = None

    @property
    def staff(self) -> bool:
        return self.household_id is None

    def may_see(self, centre_id: str) -> bool:
        return self.centre_id in ("", centre_id)


HOUSE = By()
"""The house itself: jobs and reactions."""


def unknown_session() -> NotFound:
    return NotFound(
        "session.unknown",
        N_("There is no such session."),
        N_("Choose a session from the list."),
    )


@dataclass
class Opened:
    """A locked session in one transaction. `save` writes what changed and tells it."""

    tx: Transaction
    session: Session
    stamp: datetime
    added: list[SignUp] = field(default_factory=list)
    touched: dict[str, SignUp] = field(default_factory=dict)

    def confirm(self, one: SignUp) -> None:
        self._set(one, State.CONFIRMED, confirmed_at=self.stamp)

    def offer(self, one: SignUp) -> None:
        hold = store.hold_in_force(
            self.tx.connection, self.session.centre_id, self.session.activity_id, self.tx.now
        )
        answer_by = waiting_list.answer_by(self.tx.now, hold, self.session.starts_at)
        self._set(one, State.OFFERED, offered_at=self.stamp, answer_by=answer_by)
        self.tx.schedule(OFFER_EXPIRY, one.id, answer_by)
        self._emit(SignUpOffered, one, answer_by=answer_by)

    def expire(self, one: SignUp) -> None:
        self._set(one, State.EXPIRED, ended_at=self.stamp)
        self._emit(OfferExpired, one)

    def end(self, one: SignUp, state: State, reason: str) -> None:
        self._set(one, state, ended_at=self.stamp, reason=reason)
        self._emit(SignUpCancelled, one, reason=reason)

    def add(self, newcomers: Iterable[SignUp]) -> None:
        """Put newcomers into the list; who is due for a place at once has it confirmed."""
        self.added.extend(newcomers)
        self.session.live.extend(self.added)
        self.settle()
        positions = waiting_list.positions(self.session.entries)
        for one in self.added:
            if one.state is State.CONFIRMED:
                self._emit(SignUpConfirmed, one)
            else:
                self._emit(SignUpWaitlisted, one, position=positions[one.id])

    def settle(self) -> None:
        """Give the free places to whom they are due. Nothing once the session has begun."""
        if self.session.begun(self.tx.now) or self.session.state != "scheduled":
            return
        new = {one.id for one in self.added}
        session = self.session
        by_id = {one.id: one for one in session.live}
        for entry in waiting_list.due_for_places(
            session.capacity, session.policy, session.entries, session.present
        ):
            if entry.id in new:
                self.confirm(by_id[entry.id])
            else:
                self.offer(by_id[entry.id])

    def tell_confirmed(self, one: SignUp) -> None:
        self._emit(SignUpConfirmed, one)

    def group_of(self, one: SignUp, state: State) -> list[SignUp]:
        """The sign-up and those who come together with it and stand in the same state."""
        return [
            other
            for other in self.session.live
            if other.state is state
            and (other.id == one.id or (one.group_id and other.group_id == one.group_id))
        ]

    def save(self) -> None:
        """Write the sign-ups that changed and the session's time; announce it to live pages."""
        connection = self.tx.connection
        if self.added:
            connection.execute(sa.insert(store.sign_up), [one.row() for one in self.added])
        new = {one.id for one in self.added}
        for one in self.touched.values():
            if one.id not in new:
                connection.execute(
                    sa.update(store.sign_up).where(store.sign_up.c.id == one.id).values(one.row())
                )
        connection.execute(
            sa.update(store.session)
            .where(store.session.c.id == self.session.id)
            .values(changed_at=self.stamp)
        )
        changed(self.tx, self.session.id)

    def _set(self, one: SignUp, state: State, **values: Any) -> None:
        one.state = state
        for name, value in values.items():
            setattr(one, name, value)
        self.touched[one.id] = one

    def _emit(
        self,
        event: type[
            SignUpConfirmed | SignUpWaitlisted | SignUpOffered | OfferExpired | SignUpCancelled
        ],
        one: SignUp,
        **more: Any,
    ) -> None:
        self.tx.emit(
            event(
                session_id=self.session.id,
                centre_id=self.session.centre_id,
                signup_id=one.id,
                person_id=one.person_id,
                household_id=one.household_id,
                title=self.session.title,
                starts_at=self.session.starts_at,
                at=self.stamp,
                entered_at=one.entered_at,
                priority=one.priority,
                group_id=one.group_id,
                **more,
            ),
            centre=self.session.centre_id,
        )


def opened(tx: Transaction, by: By, session_id: str) -> Opened:
    """The session, locked and up to date: offers that ran out have ended and moved on, unless the
    date is doubted.

    Raises NotFound when there is none or it belongs to another centre.
    """
    session = store.locked_session(tx.connection, session_id)
    if session is None or not by.may_see(session.centre_id):
        raise unknown_session()
    work = Opened(tx, session, max(tx.now, session.changed_at))
    overdue = [
        one
        for one in session.live
        if not tx.doubted
        and one.state is State.OFFERED
        and one.answer_by is not None
        and one.answer_by <= tx.now
    ]
    for one in overdue:
        work.expire(one)
    if overdue:
        work.settle()
        work.save()
    return work


def opened_for_sign_ups(tx: Transaction, by: By, session_id: str) -> Opened:
    """`opened`, when sign-ups may still change: Refusal when cancelled or begun."""
    work = opened(tx, by, session_id)
    require_open(work)
    return work


def require_open(work: Opened) -> None:
    if work.session.state != "scheduled":
        raise Refusal(
            "session.cancelled",
            N_("This session was cancelled."),
            N_("Choose another session from the list."),
        )
    if work.session.begun(work.tx.now):
        raise Refusal(
            "session.begun",
            N_("This session has already begun: sign-ups can no longer be changed."),
            N_("Speak to the staff of the centre, or choose another session."),
        )


def expire_offers(tx: Transaction, sign_up_id: str) -> None:
    """The job of an offer: when it ran out it ends, and the next one is offered the place.

    Ending and offering are one transaction. Nothing happens to an offer that was answered.
    """
    session_id = tx.connection.execute(
        sa.select(store.sign_up.c.session_id).where(store.sign_up.c.id == sign_up_id)
    ).scalar()
    if session_id is not None:
        opened(tx, HOUSE, session_id)


def begin_session(tx: Transaction, session_id: str) -> None:
    """The job of a session's beginning: open offers run out, and who waits is told the truth."""
    work = opened(tx, HOUSE, session_id)
    if work.session.state != "scheduled" or not work.session.begun(tx.now):
        return
    for one in work.session.live:
        if one.state is State.WAITING:
            work.end(one, State.NOT_PLACED, "not_placed")
    work.save()
