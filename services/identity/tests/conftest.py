"""A bench on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from identity import hashing
from identity.app import SERVICE
from identity.commands import first
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import store_of
from web.testing import Client

from .identity_house import QUICK, bench_on, furnish, key_file

store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed in no time."""
    for module in (hashing, first):
        monkeypatch.setattr(module, "HASHER", QUICK)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    with bench_on(store_url, clock, ids) as made:
        yield made


@pytest.fixture
async def client(tmp_path: Any, clock: FixedClock) -> AsyncIterator[Client]:
    url = f"sqlite:///{tmp_path / 'identity.db'}"
    settings = {"identity_key_file": key_file(tmp_path)}
    async with Client(SERVICE, url, clock=clock, settings=settings) as made:
        await made.run(furnish)
        yield made
