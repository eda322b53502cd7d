"""The demonstration centre in a real house, loaded in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from house import House, open_house

from vicinato import demo, first_start
from vicinato.day.centre import Centre
from vicinato.first_start import readable_password

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("house"), pytest.mark.timeout(300)]

BREAKS = ("register_households", "plan_activities")


@pytest.fixture
def empty() -> Iterator[House]:
    """A house of its own: one more centre would be seen by the tests that share theirs."""
    with open_house() as made:
        yield made


class BrokenOffError(Exception):
    """Ctrl-C, as the load sees it."""


async def _broken_off(_centre: Centre) -> None:
    raise BrokenOffError


def test_a_load_that_is_broken_off_goes_on_with_the_same_passwords(
    empty: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was: nothing is there twice."""
    order: dict[str, Any] = {
        "address": empty.settings.address,
        "administrator": first_start.administrator(empty.settings, empty.folder),
        "secret": readable_password(),
        "begun": empty.clock.now().isoformat(),
    }
    for step in BREAKS:
        with monkeypatch.context() as until:
            until.setattr(Centre, step, _broken_off)
            with pytest.raises(BrokenOffError):
                demo.load(**order)
    sign_ins = demo.load(**order)
    assert demo.load(**order) == sign_ins
    for one in sign_ins:
        empty.tokens[one["role"]] = empty.token(one["email"], one["password"])
    assert len(empty.get("/cards/api/households", by="reception")["items"]) == demo.HOUSEHOLDS
    sessions = empty.get("/activities/api/sessions", by="educator")["items"]
    assert sessions
    assert len({(one["activity_id"], one["starts_at"]) for one in sessions}) == len(sessions)
