"""Passwords are hashed by Argon2id in two threads of their own, never inside a transaction.

OWASP's minimum (19 MiB, t=2, p=1) costs some 19 ms a time; the library's default would cost 101.
Not more than a fixed number may wait: a flood of sign-ins is turned away instead of taking all
memory and time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, hash_secret_raw

from identity.domain.passwords import prepared
from runtime.refusals import N_, Unavailable

T = TypeVar("T")

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
MOST_WAITING = 100
_M_MMAP_THRESHOLD = -3


def _give_memory_back() -> None:
    """Let the C library return each hash's 19 MiB to the system: it learns to keep them for next
    time, one lot for each thread (26 MB more for an idle service, measured). No harm elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)


class Hashing:
    """The two threads. ``most`` is how many may wait or work at once."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        _give_memory_back()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="password")
        self._room = threading.BoundedSemaphore(most)

    async def hash(self, password: str) -> str:
        """The hash of a password that was accepted (`passwords.acceptable`)."""
        return await self._run(lambda: HASHER.hash(password))

    async def matches(self, stored: str, password: str) -> bool:
        """True when this is the password; takes the same time when nothing is ``stored``."""
        return await self._run(lambda: matches(stored, password))

    async def digest(self, password: str, salt: bytes) -> bytes:
        """The same slow digest for the same password and salt: to know a repeated request by."""
        return await self._run(
            lambda: hash_secret_raw(
                prepared(password).encode(),
                hashlib.sha256(salt).digest(),
                time_cost=HASHER.time_cost,
                memory_cost=HASHER.memory_cost,
                parallelism=HASHER.parallelism,
                hash_len=HASHER.hash_len,
                type=Type.ID,
            )
        )

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise Unavailable(
                "sign_in.busy",
                N_("Too many people are signing in at this moment."),
                N_("Try again in a minute."),
            )
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)


def matches(stored: str, password: str) -> bool:
    """`Hashing.matches` for who is in a thread already."""
    try:
        right = HASHER.verify(stored or _nobodys(), prepared(password))
    except (VerificationError, InvalidHashError):
        return False
    return right and bool(stored)


@cache
def _nobodys() -> str:
    return HASHER.hash("nobody has this password")
