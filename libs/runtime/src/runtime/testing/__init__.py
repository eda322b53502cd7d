"""What every test of the house shares; loaded as a pytest plugin by the root conftest.

`store_url` gives a fresh database on both engines: a file, and a database of the machine's test
server (`databases`). It is part of the lock, hence a server that does not start fails the test:
nothing is skipped. A service's tests begin with its schema: its conftest says
``store_url = store_of(SERVICE.package, SERVICE.metadata)``. `empty_url` is a database without any
table, for migrations.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, overload

import hypothesis
import pytest
import sqlalchemy as sa

from runtime import logging, prepared
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.store import Store
from runtime.testing import databases
from runtime.testing.databases import (
    ENGINES,
    fresh_store,
    furnish,
    migrated,
    postgresql_database,
    postgresql_server,
)

__all__ = [
    "ENGINES",
    "MONDAY",
    "eventually",
    "eventually_async",
    "examples",
    "fresh_store",
    "furnish",
    "migrated",
    "postgresql_database",
    "postgresql_server",
    "store_of",
]

T = TypeVar("T")

QUICK, NIGHTLY = "quick", "nightly"
A_THOUSAND = 1_000

hypothesis.settings.register_profile(QUICK, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile(
    NIGHTLY, deadline=None, max_examples=A_THOUSAND, print_blob=True
)
hypothesis.settings.load_profile(QUICK)

MONDAY = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
"""The Monday on which tests begin."""


def examples(quick: int) -> int:
    """How many examples a property is tried on: ``quick`` in `make test`, where they are the same
    in every run; 1,000 new ones in `make nightly` (``--hypothesis-profile=nightly``)."""
    current = hypothesis.settings.get_current_profile_name()
    return A_THOUSAND if current == NIGHTLY else quick


def pytest_configure(config: pytest.Config) -> None:
    """Log events go where pytest collects them."""
    logging.route()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the server of the machine."""
    databases.give_back()


def store_of(package: str, metadata: sa.MetaData) -> Any:
    """A fixture for the conftest of a service: its store on each engine, without any row."""

    @pytest.fixture(params=ENGINES, name="store_url")
    def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
        with fresh_store(request.param, package, metadata, tmp_path) as url:
            yield url

    return store_url


@pytest.fixture(params=ENGINES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database without any table, on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    with postgresql_database() as url:
        yield url


@pytest.fixture
def store_url(empty_url: str) -> str:
    """A fresh, empty database on each engine; a service's conftest gives one with its schema."""
    return empty_url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store on a fresh, empty database."""
    made = Store(store_url)
    yield made
    made.close_now()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The statements that go to the driver itself (`runtime.prepared`) from now on, with what is
    bound to them."""
    seen: list[tuple[str, Any]] = []
    really = prepared.run_at_once

    def run_at_once(connection: sa.Connection, text: str, given: Any, **more: Any) -> Any:
        seen.append((text, given))
        return really(connection, text, given, **more)

    monkeypatch.setattr(prepared, "run_at_once", run_at_once)
    return seen


@pytest.fixture
def clock() -> FixedClock:
    """Monday 16 November 2026, 9:00 UTC, until a test moves it."""
    return FixedClock(MONDAY)


@pytest.fixture
def ids() -> SequenceIds:
    """The same ids in every run."""
    return SequenceIds()


def eventually(probe: Callable[[], T], within: float = 10, why: str = "") -> T:
    """Ask `probe` until its answer is true, and give that answer.

    An answer that is not true, or an assertion in the probe, is asked again; after `within` seconds
    the test fails with `why` and the last answer.
    """
    deadline = time.monotonic() + within
    pause = 0.005
    while True:
        answer, failed = _asked(probe)
        if failed is None and answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(_telling(why, within, answer, failed))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


@overload
async def eventually_async(
    probe: Callable[[], Awaitable[T]], within: float = 10, why: str = ""
) -> T: ...
@overload
async def eventually_async(probe: Callable[[], T], within: float = 10, why: str = "") -> T: ...
async def eventually_async(probe: Callable[[], Any], within: float = 10, why: str = "") -> Any:
    """`eventually` beside a running event loop; the probe may be a coroutine function."""
    deadline = time.monotonic() + within
    pause = 0.005
    while True:
        failed: AssertionError | None = None
        answer: Any = None
        try:
            asked = probe()
            answer = await asked if isinstance(asked, Awaitable) else asked
        except AssertionError as error:
            failed = error
        if failed is None and answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(_telling(why, within, answer, failed))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def _asked(probe: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return probe(), None
    except AssertionError as error:
        return None, error


def _telling(why: str, within: float, answer: object, failed: AssertionError | None) -> str:
    last = f"it failed: {failed}" if failed is not None else f"it answered {answer!r}"
    return f"{why or 'what was awaited'} did not come true within {within:g} s; at last {last}"
