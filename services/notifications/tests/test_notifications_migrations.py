"""The schema: what the revisions make is what the tables say, up, down and up."""

from __future__ import annotations

from notifications.app import SERVICE
from runtime import migrations


def test_up_down_and_up_again(empty_url: str) -> None:
    for _ in range(2):
        migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata)
        assert migrations.difference(empty_url, SERVICE.package, SERVICE.metadata) == []
        migrations.check(empty_url, SERVICE.package)
        migrations.downgrade(empty_url, SERVICE.package, SERVICE.metadata)


def test_there_is_one_newest_revision() -> None:
    assert len(migrations.heads(SERVICE.package)) == 1
