"""Ids are text of 36 characters: UUIDv7 for what is made here, UUIDv5 for what follows from it, and
UUIDv8 for what follows from it and is written in masses.

UUIDs in time order are inserted some 5 times faster than random ones, and sort as they were made.
"""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Iterable
from json.encoder import encode_basestring
from typing import Protocol

import uuid_utils

from runtime.clock import Clock

NAMESPACE = uuid.UUID("6f0b1f5c-0d2a-5b8e-9c35-7d1c2f4a9e60")
"""Fixed for ever: derived ids of all installations and versions rest on it."""


class Ids(Protocol):
    """What makes new ids."""

    def new(self) -> str: ...


class SystemIds:
    """UUIDv7; within a process each sorts after the one before, whatever the clock does.

    With a `clock` the time in the id is that clock's, so that a played day reads as such.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = ""

    def new(self) -> str:
        nanoseconds = None
        if self._clock is not None:
            nanoseconds = int(self._clock.now().timestamp() * 1_000_000) * 1_000
        made = str(uuid_utils.uuid7(nanoseconds=nanoseconds))
        with self._lock:
            if made <= self._last:
                made = _text(f"{uuid.UUID(self._last).int + 1:032x}")
            self._last = made
        return made


class SequenceIds:
    """The same ids in the same order in every run, in the layout of UUIDv7; for tests."""

    def __init__(self, start: int = 1) -> None:
        self._lock = threading.Lock()
        self._next = start

    def new(self) -> str:
        with self._lock:
            number = self._next
            self._next += 1
        time_ms = f"{0x019A_0000_0000 + number:012x}"
        return f"{time_ms[:8]}-{time_ms[8:]}-7000-8000-{number:012x}"


def derived(*parts: str) -> str:
    """The id that follows from these parts: the same parts, in this order, give the same id.

    It is ``uuid.uuid5(NAMESPACE, …)`` of their JSON, without the objects in between.
    """
    digest = hashlib.sha1(_NAMESPACE + _encode(parts).encode(), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:16])
    number = number & ~(0xF000 << 64) & ~(0xC000 << 48) | 5 << 76 | 0x8000 << 48
    return _text(f"{number:032x}")


def following(cause: str, *parts: str) -> str:
    """The id that follows from something that has an id with a time, and from these parts: the same
    give the same id. It begins with that time (a UUIDv8, RFC 9562 section 5.8), so that it is
    inserted beside what was made then; `derived` where `cause` has none.
    """
    if not _WITH_TIME.match(cause):
        return derived(cause, *parts)
    encoded = _encode((cause, *parts)).encode()
    digest = hashlib.sha1(_NAMESPACE + encoded, usedforsecurity=False).hexdigest()
    return f"{cause[:13]}-8{digest[:3]}-{_VARIANT[digest[3]]}{digest[4:7]}-{digest[7:19]}"


_WITH_TIME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_NAMESPACE = NAMESPACE.bytes


def _encode(parts: Iterable[str]) -> str:
    """A list of texts as ``json.dumps`` writes it, without ASCII's limits."""
    return f"[{', '.join(map(encode_basestring, parts))}]"


def _text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
