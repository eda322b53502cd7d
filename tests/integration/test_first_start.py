"""The demonstration centre in a real house, loaded in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from house import House

from vicinato import demo, first_start
from vicinato.day.centre import Centre
from vicinato.first_start import readable_password

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.xdist_group("house"),
    pytest.mark.last_in_its_house,
    pytest.mark.timeout(300),
]


class BrokenOffError(Exception):
    """Ctrl-C, as the load sees it."""


async def _broken_off(_centre: Centre) -> None:
    raise BrokenOffError


def test_a_load_that_is_broken_off_goes_on_with_the_same_passwords(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle, and at the very end, where all was done and nobody remembers: nothing is there
    twice. It is one more centre in the house, which the other tests there would see."""
    order: dict[str, Any] = {
        "address": house.settings.address,
        "administrator": first_start.administrator(house.settings, house.folder),
        "secret": readable_password(),
        "begun": house.clock.now().isoformat(),
    }
    with monkeypatch.context() as until:
        until.setattr(Centre, "plan_activities", _broken_off)
        with pytest.raises(BrokenOffError):
            demo.load(**order)
    sign_ins = demo.load(**order)
    assert demo.load(**order) == sign_ins
    for one in sign_ins:
        house.tokens[f"demonstration {one['role']}"] = house.token(one["email"], one["password"])
    households = house.get("/cards/api/households", by="demonstration reception")["items"]
    assert len(households) == demo.HOUSEHOLDS
    sessions = house.get("/activities/api/sessions", by="demonstration educator")["items"]
    assert sessions
    assert len({(one["activity_id"], one["starts_at"]) for one in sessions}) == len(sessions)
