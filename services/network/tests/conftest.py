"""A store of the network on both engines, with two organisations and a household."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from messaging.testing import Bench
from network.app import SERVICE
from runtime.clock import FixedClock
from runtime.ids import Ids
from runtime.testing import store_of
from web.testing import Client

from .network_callers import filled
from .network_cases import prepare

store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: Ids) -> Iterator[Bench]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        prepare(made)
        yield made


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock, ids: Ids) -> AsyncIterator[Client]:
    """The edge, on SQLite alone: the rules run on both engines beside it."""
    async with Client(SERVICE, f"sqlite:///{tmp_path}/network.db", clock=clock, ids=ids) as made:
        await filled(made, clock.now())
        yield made
