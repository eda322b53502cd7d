"""A tiny service to try the edge on, and a client signed in to it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.clock import FixedClock
from web.testing import Client

sys.path.insert(0, str(Path(__file__).parent / "sample"))


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Client]:
    """The sample service on SQLite, nobody signed in, in English."""
    from web_sample.app import SERVICE

    async with Client(SERVICE, f"sqlite:///{tmp_path / 'sample.db'}", clock=clock) as made:
        yield made
