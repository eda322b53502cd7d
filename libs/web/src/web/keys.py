"""The published keys and the revoked sessions, in memory.

Both are rows that a projection of ``identity.events`` keeps in the service's own store, so a token
is checked without asking anybody. They are read again when that projection has changed them, when
a key is unknown, and once a second for what another replica wrote: a sign-out is honoured within
2 s, and what is open for that session is ended then (`web.live`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from messaging import tables
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.logging import get_logger
from runtime.store import Store
from web.tokens import Claims, TokenRefused, key_id_of, public_key, verify

POLL = 1.0
REMEMBERED = 1_000
"""Tokens whose signature was checked already. The check costs more than the rest of a request's
sign-in, and its answer never changes; times, keys and revocations are looked at each time."""

UNKNOWN_KEY_PAUSE = timedelta(seconds=1)
"""An unknown key makes us look at the store once in this time at most."""

log = get_logger()


@dataclass(frozen=True)
class Key:
    key: Ed25519PublicKey
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class _Known:
    keys: dict[str, Key]
    revoked: frozenset[str]


class Streams(Protocol):
    """What is open for sessions after their tokens were checked."""

    def sessions(self) -> frozenset[str]: ...

    def end(self, sessions: Set[str], now: datetime) -> None: ...


class KeyRing:
    """What is known of keys and revocations, and the check of a token against it."""

    def __init__(self, store: Store, clock: Clock, streams: Streams) -> None:
        self._store = store
        self._clock = clock
        self._streams = streams
        self._known = _Known({}, frozenset())
        self._read_at: datetime | None = None
        self._stale = asyncio.Event()
        self._checked: dict[str, tuple[str, Key, Claims]] = {}

    def changed(self) -> None:
        """Ask for a fresh look at once; call it on the loop's thread after the commit."""
        self._stale.set()

    async def refresh(self) -> None:
        now = self._clock.now()
        listening = self._streams.sessions()
        self._known = await self._store.read(lambda connection: _read(connection, now, listening))
        self._read_at = now
        self._streams.end(self._known.revoked, now)

    async def keep_fresh(self) -> None:
        """Run for ever: read when told to, and every second."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stale.wait(), POLL)
            self._stale.clear()
            try:
                await self.refresh()
            except Exception as error:
                if not is_transient(error):
                    log.exception("web.keys.unreadable")

    async def check(self, token: str) -> Claims:
        """The claims of a token that holds now; TokenRefused with the reason otherwise."""
        now = self._clock.now()
        checked = self._checked.get(token)
        name = checked[0] if checked is not None else key_id_of(token)
        key = self._known.keys.get(name)
        if key is None:
            if self._read_at is None or abs(now - self._read_at) > UNKNOWN_KEY_PAUSE:
                await self.refresh()
                key = self._known.keys.get(name)
            if key is None:
                raise TokenRefused("unknown_key")
        if not key.not_before <= now < key.not_after:
            raise TokenRefused("unknown_key")
        if checked is not None and checked[1] is key and now < checked[2].exp:
            claims = checked[2]
        else:
            claims = verify(token, key.key, now)
            self._remember(token, name, key, claims)
        if claims.sid in self._known.revoked:
            raise TokenRefused("revoked")
        return claims

    def _remember(self, token: str, name: str, key: Key, claims: Claims) -> None:
        if len(self._checked) >= REMEMBERED:
            del self._checked[next(iter(self._checked))]
        self._checked[token] = (name, key, claims)


def _read(connection: sa.Connection, now: datetime, listening: frozenset[str]) -> _Known:
    """The keys, and the revoked sessions that have tokens which would hold otherwise, or streams:
    these outlive the token that opened them."""
    keys: dict[str, Key] = {}
    for row in connection.execute(sa.select(tables.auth_key)):
        try:
            keys[row.key_id] = Key(public_key(row.public_key), row.not_before, row.not_after)
        except ValueError:
            log.warning("web.keys.damaged", key=row.key_id)
    ended = tables.auth_revoked.c
    revoked = connection.execute(
        sa.select(ended.session_id).where((ended.until > now) | ended.session_id.in_(listening))
    ).scalars()
    return _Known(keys, frozenset(revoked))
