"""A bench on both engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds

from .identity_house import bench_on


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    with bench_on(store_url, clock, ids) as made:
        yield made
