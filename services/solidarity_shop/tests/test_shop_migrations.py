"""The schema goes up, down and up again, and is what the tables say, on both engines."""

from __future__ import annotations

from runtime import migrations
from solidarity_shop import store

PACKAGE = "solidarity_shop"


def test_up_down_and_up_again_leaves_no_difference(empty_url: str) -> None:
    assert len(migrations.heads(PACKAGE)) == 1
    migrations.upgrade(empty_url, PACKAGE, store.metadata)
    assert migrations.difference(empty_url, PACKAGE, store.metadata) == []
    migrations.downgrade(empty_url, PACKAGE, store.metadata)
    assert migrations.current(empty_url) is None
    migrations.upgrade(empty_url, PACKAGE, store.metadata)
    assert migrations.difference(empty_url, PACKAGE, store.metadata) == []
