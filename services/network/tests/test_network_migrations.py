"""The schema by migrations is the schema of the code, on both engines, up, down and up again."""

from __future__ import annotations

import pytest

from network import store
from network.app import SERVICE
from runtime import migrations
from web.translations.catalogs import lacking


def test_up_down_and_up_again_leaves_no_difference(empty_url: str) -> None:
    for move in (migrations.upgrade, migrations.downgrade, migrations.upgrade):
        move(empty_url, SERVICE.package, store.metadata)
    assert migrations.difference(empty_url, SERVICE.package, store.metadata) == []
    migrations.check(empty_url, SERVICE.package)


def test_there_is_one_newest_revision() -> None:
    assert len(migrations.heads(SERVICE.package)) == 1


def test_every_sentence_is_translated() -> None:
    assert lacking(SERVICE.package) == []


@pytest.mark.parametrize("name", ["referral_has_outcome", "referral_has_reason"])
def test_the_store_keeps_the_rule_of_outcomes(name: str) -> None:
    assert name in {constraint.name for constraint in store.referral.constraints}
