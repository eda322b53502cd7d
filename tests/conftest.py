"""Tests that cross services share one running house."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from house import House, open_house

HOUSE = pytest.StashKey[House]()


@pytest.fixture(scope="session")
def house(pytestconfig: pytest.Config) -> Iterator[House]:
    """The whole house on SQLite, set up once."""
    with open_house() as made:
        pytestconfig.stash[HOUSE] = made
        yield made


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start a house again that was stopped."""
    made = item.config.stash.get(HOUSE, None)
    if made is not None and _wants_the_house(item) and not made.runs:
        made.start()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the house when the next test does without: eight processes that rest still take a fifth
    of a core from all tests that come after."""
    made = item.config.stash.get(HOUSE, None)
    if made is not None and made.runs and not _wants_the_house(nextitem):
        made.stop()


def _wants_the_house(item: pytest.Item | None) -> bool:
    """Whether it is a test in the house, or one among those."""
    if item is None:
        return False
    group = item.get_closest_marker("xdist_group")
    return "house" in getattr(item, "fixturenames", ()) or (
        group is not None and group.args[0] == "house"
    )
