"""The worker that hands e-mails over: lease, commit, mail server, answer.

No connection to the store is held while the mail server is asked. A few e-mails are under way at
once, each on a connection of its own. A stop lets those under way end for some seconds; what is
left then has a lease without an answer and becomes ``unknown``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

import sqlalchemy as sa
from fastapi import FastAPI

from messaging import Transaction
from notifications import commands, mail
from notifications.commands import HandOver
from notifications.commands.hand_over import Taken
from notifications.domain.delivery import Answer
from notifications.domain.quiet_hours import is_holiday
from notifications.live import bell
from notifications.post import Post, Reply
from notifications.settings import NotificationsSettings
from notifications.store import DEFAULT_REGION
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.logging import get_logger
from web.parts import Parts

log = get_logger()

T = TypeVar("T")

AT_ONCE = 4
LOOK_EVERY = 2.0
"""Seconds: a played clock jumps, and other replicas write, without a ring of the bell."""
GRACE = 5.0
PAUSE = 1.0


class Store(Protocol):
    """How the worker reaches its store: one transaction at a time, none while it waits."""

    async def transact(self, work: Callable[[Transaction], T]) -> T: ...
    async def read(self, work: Callable[[sa.Connection], T]) -> T: ...


class Courier:
    """Hands over what is due. ``doubted`` says that the date cannot be trusted: nothing leaves."""

    def __init__(
        self,
        store: Store,
        settings: NotificationsSettings,
        clock: Clock,
        *,
        doubted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._doubted = doubted
        self._mine: set[str] = set()
        self._stopping = False
        # Both time limits of the post, with room for the politeness around them.
        self.lease = timedelta(seconds=3 * settings.notifications_smtp_timeout + 60)

    async def work(self) -> None:
        """Hand over for ever, until cancelled."""
        woken = bell.join()
        try:
            while True:
                woken.clear()
                try:
                    await self.round()
                except Exception as error:
                    log.warning("notifications.worker_waits", error=error)
                    await asyncio.sleep(PAUSE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await woken.wait()
        finally:
            bell.leave(woken)

    async def round(self) -> int:
        """Hand over everything that is due now; how many e-mails the mail server was asked for."""
        if self._doubted():
            return 0
        now = self._clock.now()
        if not await self._store.read(lambda c: commands.anything_due(c, now)):
            return 0
        mine = list(self._mine)
        lost = await self._store.transact(lambda tx: commands.lose_expired(tx, mine=mine))
        if lost:
            log.warning("notifications.answers_lost", count=lost)
        await self._store.transact(commands.end_calls)
        tasks = [asyncio.create_task(self._several(), name="post") for _ in range(AT_ONCE)]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await self._end(tasks)
            raise
        return sum(await asyncio.gather(*tasks))

    async def _end(self, tasks: Sequence[asyncio.Task[int]]) -> None:
        """Let those under way end, take no more."""
        self._stopping = True
        _, late = await asyncio.wait(tasks, timeout=GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _several(self) -> int:
        post = Post(self._settings)
        done = 0
        server = bool(self._settings.smtp_host)
        try:
            while not self._stopping and not self._doubted():
                taken = await self._store.transact(
                    lambda tx: commands.take(tx, lease_for=self.lease, mail_server=server)
                )
                if taken is Taken.NOTHING_DUE:
                    break
                if isinstance(taken, HandOver):
                    await self._hand_over(post, taken)
                    done += 1
        except asyncio.CancelledError:
            post.drop()
            raise
        await post.close()
        return done

    async def _hand_over(self, post: Post, leased: HandOver) -> None:
        self._mine.add(leased.lease_id)
        try:
            reply = await self._ask(post, leased)
            log.info(
                "notifications.email.answered",
                subject_id=leased.message_id,
                state=reply.answer.value,
                reason=reply.code,
            )
            await self._surely(lambda tx: commands.finish(tx, leased, reply.answer, reply.code))
        finally:
            self._mine.discard(leased.lease_id)

    async def _ask(self, post: Post, leased: HandOver) -> Reply:
        settings = self._settings
        try:
            to = mail.sendable(leased.address)
            written = mail.written(
                leased,
                sender=settings.sender,
                public_url=settings.public_url,
                at=self._clock.now(),
                to=to,
            ).as_bytes()
        except mail.NoAddress:
            return Reply(Answer.NEVER, "address")
        except Exception as error:  # ours: it waits for a build that can write it
            log.error("notifications.email.not_written", subject_id=leased.message_id, error=error)
            return Reply(Answer.LATER, "not_written")
        return await post.send(written, to)

    async def _surely(self, work: Callable[[Transaction], bool]) -> None:
        """The answer is known: a store that is away for a moment must not lose it."""
        while True:
            try:
                await self._store.transact(work)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("notifications.answer_waits", error=error)
                await asyncio.sleep(PAUSE)
            else:
                return


class _Application:
    """The store of a running application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        return await self._parts.engine.transact(work)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        return await self._parts.store.read(work)


async def hand_over_mail(app: FastAPI) -> None:
    """The worker of the service."""
    parts: Parts = app.state.parts
    # The calendar takes a third of a second to load: not in the first transaction that needs it.
    await asyncio.to_thread(is_holiday, parts.clock.now().date(), DEFAULT_REGION)
    await Courier(
        _Application(parts),
        NotificationsSettings(**parts.settings.model_dump()),
        parts.clock,
        doubted=lambda: parts.engine.guard.suspicious,
    ).work()
