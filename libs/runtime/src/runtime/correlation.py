"""The thread that joins everything that follows from one request: an id on every line of the log.

It lives in a context variable; the store takes the caller's context into its threads.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextvars import ContextVar, Token
from typing import Any

KEY = "correlation"

_CURRENT: ContextVar[str] = ContextVar(KEY, default="")


def current() -> str:
    """The correlation id bound now, or an empty string."""
    return _CURRENT.get()


class bind:  # noqa: N801 - used as a function
    """Bind the id until the block ends."""

    __slots__ = ("_correlation", "_token")

    _token: Token[str]

    def __init__(self, correlation: str) -> None:
        self._correlation = correlation

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._correlation)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)


def on_line(
    _logger: object, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put the id on a line of the log that does not name one itself."""
    found = _CURRENT.get()
    if found:
        line.setdefault(KEY, found)
    return line
