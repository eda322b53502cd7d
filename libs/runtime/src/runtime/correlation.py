"""The thread that joins everything that follows from one request: an id bound to every log line.

It lives in a context variable; the store takes the caller's context into its threads.
"""

from __future__ import annotations

from typing import Any

import structlog

KEY = "correlation"


def current() -> str:
    """The correlation id bound now, or an empty string."""
    return str(structlog.contextvars.get_contextvars().get(KEY, ""))


class bind:  # noqa: N801 - used as a function
    """Bind the id (and more keys, such as `cause` or `centre`) until the block ends."""

    __slots__ = ("_keys", "_tokens")

    def __init__(self, correlation: str, **more: Any) -> None:
        self._keys = {KEY: correlation, **more}

    def __enter__(self) -> None:
        self._tokens = structlog.contextvars.bind_contextvars(**self._keys)

    def __exit__(self, *_: object) -> None:
        structlog.contextvars.reset_contextvars(**self._tokens)
