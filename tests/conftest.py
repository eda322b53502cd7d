"""Tests that cross services share one running house."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from house import House, open_house


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """The whole house on SQLite, started once."""
    with open_house() as made:
        yield made
