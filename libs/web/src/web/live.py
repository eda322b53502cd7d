"""Live parts of pages: the server says "this changed", the browser fetches the part again.

Nothing but the word that something changed travels here, so a channel's name is an opaque id and
its messages are empty. Channels live in this process; a page falls back to asking now and then, so
a message lost to another replica costs seconds, not truth. A stream ends with the session that
opened it: as soon as this service hears that somebody ended that, or when nobody came back in time
as far as its token knows. A browser whose session lives on opens another then.

A service names each kind of channel once, with who may listen::

    @live.channel("cards", "household")
    async def may_listen(call: Call, household_id: str) -> bool: ...

and publishes after the commit: ``tx.after_commit(lambda: live.publish("household", id))``.
The page's part says ``data-live="household.<id>"``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Set
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request

from runtime.refusals import N_, NotAllowed, NotFound
from web.auth import allow
from web.call import Call
from web.roles import ANONYMOUS, Caller

HEARTBEAT = 15
Allowed = Callable[[Call, str], Awaitable[bool]]

_channels: dict[tuple[str, str], Allowed] = {}


def channel(service: str, kind: str) -> Callable[[Allowed], Allowed]:
    """Declare a kind of channel and who may listen to one of it."""

    def declare(allowed: Allowed) -> Allowed:
        _channels[service, kind] = allowed
        return allowed

    return declare


class Hub:
    """Who listens to what in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, set[Listener]] = {}

    def publish(self, kind: str, subject: str) -> None:
        """Say that something of this subject changed; from any thread."""
        with self._lock:
            listeners = tuple(self._listeners.get(f"{kind}.{subject}", ()))
        for listener in listeners:
            listener.wake()

    def listen(self, name: str, caller: Caller = ANONYMOUS) -> Listener:
        listener = Listener(self, name, caller)
        with self._lock:
            self._listeners.setdefault(name, set()).add(listener)
        return listener

    def forget(self, listener: Listener) -> None:
        with self._lock:
            listeners = self._listeners.get(listener.name, set())
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(listener.name, None)

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        with self._lock:
            return sum(len(some) for some in self._listeners.values())

    def sessions(self) -> frozenset[str]:
        """The sessions that have a stream open."""
        return frozenset(one.caller.session_id for one in self._open())

    def end(self, sessions: Set[str], now: datetime) -> None:
        """End the streams of these sessions, and of those that are over, from any thread. Told
        again it does no harm."""
        for listener in self._open():
            over = listener.caller.over
            if listener.caller.session_id in sessions or (over is not None and over <= now):
                listener.end()

    def close(self) -> None:
        """End every stream, so that none holds up the stop of the process."""
        for listener in self._open():
            listener.end()

    def _open(self) -> list[Listener]:
        with self._lock:
            return [one for some in self._listeners.values() for one in some]


class Listener:
    """One open stream. Several changes in a moment are one message."""

    def __init__(self, hub: Hub, name: str, caller: Caller) -> None:
        self.name = name
        self.caller = caller
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._ended = False

    def wake(self) -> None:
        self._call(self._woken.set)

    def end(self) -> None:
        self._ended = True
        self.wake()

    def _call(self, fn: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(fn)

    async def messages(self) -> AsyncGenerator[ServerSentEvent, None]:
        """``changed`` for every change; the first at once, so that nothing is missed before."""
        try:
            yield ServerSentEvent(event="open", data="", retry=3000)
            while True:
                await self._woken.wait()
                if self._ended:
                    return
                self._woken.clear()
                yield ServerSentEvent(event="changed", data="")
        finally:
            self._hub.forget(self)


hub = Hub()


def publish(kind: str, subject: str) -> None:
    """Say that something of this subject changed: after the commit, from any thread."""
    hub.publish(kind, subject)


def router(service: str, prefix: str) -> APIRouter:
    """``GET {prefix}/live/{kind}.{subject}`` of a service."""
    made = APIRouter(include_in_schema=False)

    @made.get(f"{prefix}/live/{{name}}")
    async def listen(
        request: Request,
        name: Annotated[str, Path(max_length=150)],
        call: Annotated[Call, Depends(allow())],
    ) -> EventSourceResponse:
        kind, _, subject = name.partition(".")
        allowed = _channels.get((service, kind))
        if allowed is None or not subject:
            raise NotFound("live.unknown", N_("There is nothing at this address."))
        if not await allowed(call, subject):
            raise NotAllowed("live.not_yours", N_("Your role does not allow this."))
        listener = hub.listen(name, call.caller)
        return EventSourceResponse(listener.messages(), ping=HEARTBEAT)

    return made
