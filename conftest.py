"""What every test of the house shares: both engines, a clock and ids that tests can move."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from itertools import chain

import pytest

pytest_plugins = ["runtime.testing", "vicinato.testing"]

CHAINS = ("house", "planted", "upgrade")
"""Groups of tests that one worker runs one after another, the longest first."""

ROUND = 50_000
"""So many more new objects than old ones begin a round of the garbage collector in the tests."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that was imported or collected is garbage: the collector looks neither for it
    meanwhile nor at it later. Without its rounds tests take an eighth less of the processor."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(ROUND, *gc.get_threshold()[1:])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest chains first, one on each worker, then some short tests, then the rest.

    A worker is given its next test while it runs one, and nobody takes it away again: a chain that
    is given out late, or behind another, is what everybody waits for. In between, all stay in the
    random order they came in. In a shared house who looks at its pages comes first, before families
    are made by the dozen and days go by; what leaves something there comes last, as in its chain.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    chains: dict[str, list[pytest.Item]] = {name: [] for name in CHAINS}
    others: list[pytest.Item] = []
    alone: list[pytest.Item] = []
    last: list[pytest.Item] = []
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if item.get_closest_marker("last_in_its_house"):
            last.append(item)
        elif group is None:
            alone.append(item)
        else:
            chains.get(group.args[0], others).append(item)
    chains["house"].sort(key=lambda item: "quarter" not in getattr(item, "fixturenames", ()))
    begun = list(chains.values())
    items[:] = chain(
        *begun[:workers], alone[:workers], *begun[workers:], others, alone[workers:], last
    )
