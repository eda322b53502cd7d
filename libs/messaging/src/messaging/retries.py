"""Second tries: what was set aside is tried again when it is due, sent again or discarded by staff.

Each in a transaction of its own, with those who waited for it; when they are the ones that fail,
it passes without them, and they are tried each for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import sqlalchemy as sa

from messaging import aside
from messaging.attempt import RETRIES, Outcome, Overtaken, reason_of
from messaging.envelope import Unreadable
from messaging.settle import Settler, Write, cause_of
from messaging.tables import inbox, set_aside
from runtime.failures import is_transient
from runtime.logging import get_logger

log = get_logger()

DUE_AT_ONCE = 100

LATER = timedelta(hours=1)
"""So late does this build look again at what it cannot read: if it did at each look, a hundred of
them would keep it from all others."""

TOO_FAR = timedelta(hours=2)
"""No try and no patience is set further ahead than an hour (`outcome.RETRIES`,
`WAIT_FOR_PREVIOUS`). What is by more than clocks of two replicas differ was set by one that was
wrong, and is due."""


class StillUnreadable(Exception):  # noqa: N818 - it names what happened
    """This build cannot read the record either; its row stays as it is."""


class Retrier(Settler):
    """Settles what was set aside. Used by one thread at a time."""

    def due(self, connection: sa.Connection, *, limit: int = DUE_AT_ONCE) -> list[str]:
        """Ids that should be tried now: retries that are due, waiting ones whose previous came or
        did not come for an hour. In the order in which they came.

        One whose previous is itself still tried again waits on: its previous is not lost.
        """
        now = self.clock.now()
        its_time = sa.or_(set_aside.c.next_try <= now, set_aside.c.next_try > now + TOO_FAR)
        before = set_aside.alias()
        came = sa.exists().where(inbox.c.event_id == set_aside.c.previous)
        still_tried = sa.exists().where(
            before.c.event_id == set_aside.c.previous, before.c.state.in_(("retrying", "waiting"))
        )
        return list(
            connection.scalars(
                sa.select(set_aside.c.event_id)
                .where(
                    set_aside.c.topic.in_(self.service.reads),
                    sa.or_(
                        sa.and_(set_aside.c.state == "retrying", its_time),
                        sa.and_(
                            set_aside.c.state == "waiting",
                            sa.or_(came, sa.and_(its_time, ~still_tried)),
                        ),
                    ),
                )
                .order_by(set_aside.c.at, set_aside.c.topic, set_aside.c.record_offset)
                .limit(limit)
            )
        )

    def retry(
        self,
        write: Write[Outcome],
        event_id: str,
        *,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> str:
        """Try one set-aside event again, alone. Returns "" or the reason why it failed again.

        Raises what is transient.
        """
        try:
            outcome = self._whoever_passes(write, partial(self._again, event_id=event_id))
        except StillUnreadable as error:
            write(partial(self._later, event_id=event_id))
            return str(error)
        except Exception as error:
            if isinstance(error, Overtaken) or is_transient(error):
                raise
            reason = reason_of(cause_of(error))
            outcome = self._whoever_passes(
                write, partial(self._still, event_id=event_id, reason=reason)
            )
            self._commit(outcome, told)
            return reason
        self._commit(outcome, told)
        return ""

    def _whoever_passes(
        self, write: Write[Outcome], work: Callable[[sa.Connection, bool], Outcome]
    ) -> Outcome:
        """`work` with those who waited for it; without them when that fails, as they may be the
        ones to blame. They are then tried each for itself."""
        try:
            return write(lambda c: work(c, True))
        except StillUnreadable:
            raise
        except Exception as error:
            if isinstance(error, Overtaken) or is_transient(error):
                raise
            return write(lambda c: work(c, False))

    def _again(self, connection: sa.Connection, release: bool, *, event_id: str) -> Outcome:
        attempt = self._attempt(connection, release=release)
        row = aside.locked(connection, event_id)
        if row is None or row.state == "discarded":
            return attempt.outcome
        item = aside.item_of(row)
        if isinstance(item.content, Unreadable):
            raise StillUnreadable(item.content.spoken())
        if row.state == "waiting" and row.next_try <= self.clock.now():
            log.error("event.waited_too_long", event_id=event_id, event_type=item.type)
        attempt.look_up([item])
        if row.state in ("waiting", "retrying") and item.id in attempt.known:
            attempt.pass_over(item)
        else:
            attempt.settle_alone(item)
        attempt.close()
        return attempt.outcome

    def _later(self, connection: sa.Connection, *, event_id: str) -> Outcome:
        connection.execute(
            sa.update(set_aside)
            .where(set_aside.c.event_id == event_id, set_aside.c.state.in_(("waiting", "retrying")))
            .values(state="retrying", next_try=self.clock.now() + LATER)
        )
        return Outcome()

    def _still(
        self, connection: sa.Connection, release: bool, *, event_id: str, reason: str
    ) -> Outcome:
        attempt = self._attempt(connection, release=release)
        row = aside.locked(connection, event_id)
        if row is None:
            return attempt.outcome
        tries = row.tries + 1
        alive = row.state in ("waiting", "retrying") and tries <= len(RETRIES)
        values = {
            "tries": tries,
            "reason": reason,
            "state": "retrying" if alive else "dead",
            "next_try": self.clock.now() + RETRIES[tries - 1] if alive else None,
        }
        connection.execute(
            sa.update(set_aside).where(set_aside.c.event_id == event_id).values(values)
        )
        if not alive:
            log.error(
                "event.dead", event_id=event_id, event_type=row.type, reason=reason, tries=tries
            )
            attempt.knows(event_id)
            attempt.count_as_settled(event_id, row.topic)
            attempt.close()
        return attempt.outcome

    def discard(
        self,
        write: Write[Outcome],
        event_id: str,
        reason: str,
        *,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        """Staff decide that an event shall have no effect: its id counts as settled and what waited
        for it passes."""
        outcome = self._whoever_passes(
            write, partial(self._discard, event_id=event_id, reason=reason)
        )
        self._commit(outcome, told)

    def _discard(
        self, connection: sa.Connection, release: bool, *, event_id: str, reason: str
    ) -> Outcome:
        attempt = self._attempt(connection, release=release)
        row = aside.locked(connection, event_id)
        if row is not None:
            connection.execute(
                sa.update(set_aside)
                .where(set_aside.c.event_id == event_id)
                .values(state="discarded", reason=reason, next_try=None)
            )
            attempt.knows(event_id)
            attempt.count_as_settled(event_id, row.topic)
            attempt.close()
        return attempt.outcome
