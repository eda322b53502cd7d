"""A bench on both engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from identity.app import SERVICE
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import store_of

from .identity_house import bench_on

store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    with bench_on(store_url, clock, ids) as made:
        yield made
