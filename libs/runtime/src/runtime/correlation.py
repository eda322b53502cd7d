"""The thread that joins everything that follows from one request: an id bound to every log line.

It lives in a context variable; the store takes the caller's context into its threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

KEY = "correlation"


def current() -> str:
    """The correlation id bound now, or an empty string."""
    return str(structlog.contextvars.get_contextvars().get(KEY, ""))


@contextmanager
def bind(correlation: str, **more: Any) -> Iterator[None]:
    """Bind the id (and more keys, such as `cause` or `centre`) until the block ends."""
    with structlog.contextvars.bound_contextvars(**{KEY: correlation}, **more):
        yield
