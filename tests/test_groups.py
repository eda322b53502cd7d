"""What the order of the whole suite rests on."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there are no workers")
@pytest.mark.xdist_group("kept")
def test_a_group_of_tests_is_kept_on_one_worker(request: pytest.FixtureRequest) -> None:
    """xdist tells the groups by the end of a test's id; with a pytest that it does not know it
    says nothing and spreads them, and each worker starts a house of its own."""
    assert request.node.nodeid.endswith("@kept")
