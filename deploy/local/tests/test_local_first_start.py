"""The demonstration is wanted once, until it is loaded; what that needs is decided before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vicinato import first_start, settings
from vicinato.folder import Folder
from vicinato.settings import Settings
from vicinato.steps import StepError
from web.answers import KEPT


@pytest.fixture
def wanted(tmp_path: Path) -> Settings:
    return settings.load({"DATA": str(tmp_path / "data")})


@pytest.fixture
def unused(wanted: Settings) -> Folder:
    made = Folder(wanted.data)
    made.open()
    return made


def test_it_is_loaded_also_when_the_first_start_ended_before_all_was_ready(
    wanted: Settings, unused: Folder
) -> None:
    first_start.decide(wanted, unused, fresh=True)
    first_start.decide(wanted, unused, fresh=False)
    assert first_start.is_to_load(unused)
    assert unused.first_start.stat().st_mode & 0o077 == 0


def test_stores_that_were_there_before_are_left_alone(wanted: Settings, unused: Folder) -> None:
    first_start.decide(wanted, unused, fresh=False)
    assert not first_start.is_to_load(unused)


async def test_a_load_that_services_know_no_more_is_given_up(
    wanted: Settings, unused: Folder
) -> None:
    assert first_start.GOES_ON_FOR < KEPT
    begun = datetime.now(UTC) - KEPT
    told = {"demonstration": "loading", "begun": begun.isoformat()}
    unused.first_start.write_text(json.dumps(told))
    with pytest.raises(StepError, match="too long ago"):
        await first_start.load_demonstration(wanted, unused)
    assert not first_start.is_to_load(unused)


def test_a_password_is_made_again_for_its_name_alone() -> None:
    made = first_start.readable_password_of("secret", "cassa")
    assert made == first_start.readable_password_of("secret", "cassa")
    others = [("secret", "accoglienza"), ("another", "cassa")]
    assert made not in {first_start.readable_password_of(*other) for other in others}
    assert len(made) == len(first_start.readable_password())
