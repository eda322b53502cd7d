"""A centre far from Rome: its sessions, days and ages go by the clock on its own wall."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from activities import commands, store
from activities.app import SERVICE
from contracts.activities import SessionScheduled
from contracts.identity import CentreOpened
from runtime.refusals import Refusal
from web.roles import Role
from web.testing import Client, token

CENTRE = "centre-1"
CANARIES = "Atlantic/Canary"
"""An hour behind Rome; in winter its clocks show UTC."""
ICELAND = "Atlantic/Reykjavik"
"""Its clocks show UTC all year long."""
EDUCATOR = token(Role.EDUCATOR, centre=CENTRE, zone=CANARIES)
FOUNDATION = token(Role.ADMINISTRATOR, foundation=True)


def opens(world: Any, zone: str) -> None:
    world.bench.deliver(
        CentreOpened(centre_id=CENTRE, name="Far away", time_zone=zone, opened_at=world.clock.now())
    )


@pytest.fixture
async def client(world: Any, store_url: str) -> AsyncIterator[Client]:
    """The pages on the store of the world, whose centre lies in the Canaries."""
    opens(world, CANARIES)
    async with Client(SERVICE, store_url, clock=world.clock, ids=world.bench.ids) as made:
        yield made


def test_a_series_keeps_the_time_of_the_wall_where_the_centre_is(world: Any) -> None:
    opens(world, ICELAND)
    activity_id = world.activity()
    starts_at = datetime(2027, 3, 22, 16, 30, tzinfo=UTC)
    world.bench.run(
        lambda tx: commands.schedule_sessions(
            tx,
            world.staff,
            activity_id,
            starts_at=starts_at,
            ends_at=starts_at + timedelta(hours=2),
            weeks=2,
        )
    )
    told = [event.starts_at for event in world.bench.emitted(SessionScheduled)]
    assert told == [starts_at, starts_at + timedelta(days=7)], "no summer time begins there"
    world.bench.rebuild_equals()


def test_a_register_is_taken_from_the_day_of_the_centre_on(world: Any) -> None:
    opens(world, CANARIES)
    world.clock.set(datetime(2026, 11, 16, 23, 30, tzinfo=UTC))
    session_id = world.session(starts_in=timedelta(hours=1))
    with pytest.raises(Refusal, match=r"register\.too_early"):
        world.register(session_id)
    world.advance(minutes=30)
    assert world.register(session_id).revision == 1


def test_ages_are_those_of_the_day_at_the_centre(world: Any) -> None:
    opens(world, CANARIES)
    world.clock.set(datetime(2026, 11, 16, 12, 0, tzinfo=UTC))
    world.person("anna", birth_date=date(2010, 11, 17))
    eve = world.session(starts_in=timedelta(hours=11, minutes=30), min_age=16)
    day = world.session(starts_in=timedelta(hours=12, minutes=30), min_age=16)
    with pytest.raises(Refusal, match=r"person\.too_young"):
        world.sign_up(eve, "anna")
    (made,) = world.sign_up(day, "anna")
    assert made.state == "confirmed"


@pytest.mark.parametrize("who", [EDUCATOR, FOUNDATION], ids=["educator", "foundation"])
async def test_the_time_that_was_written_is_planned_and_shown_to_everybody(
    world: Any, client: Client, who: str
) -> None:
    activity_id = world.activity()
    page = await client.sign_in(who).page(f"/activities/activities/{activity_id}/sessions/new")
    typed = {"day": "2026-11-16", "starts_at": "23:15", "ends_at": "23:45"}
    page = await page.form("session").submit(**typed)
    (planned,) = world.bench.read(lambda c: c.execute(sa.select(store.session)).all())
    assert planned.starts_at == datetime(2026, 11, 16, 23, 15, tzinfo=UTC)
    session, activity = page.path, f"/activities/activities/{activity_id}"
    for path in (session, activity, f"{session}/register"):
        assert "23:15" in await client.page(path), path
    world.household("h1")
    page = await client.page("/activities/households/h1")
    assert "Monday, 16 November 2026" in page
    client.sign_in("")
    for path in ("open", "poster", "wall"):
        page = await client.page(f"/activities/{path}/{CENTRE}")
        assert "Monday, 16 November 2026" in page, "not yet Rome's Tuesday"
        assert "23:15" in page, path


async def test_today_is_not_over_before_midnight_of_the_centre(world: Any, client: Client) -> None:
    world.session(starts_in=timedelta(hours=9))  # at 18:00
    world.clock.set(datetime(2026, 11, 16, 23, 30, tzinfo=UTC))
    family = token(Role.FAMILY, centre=CENTRE, household="h1", zone=CANARIES)
    for who, path in ((EDUCATOR, "/activities/today"), (EDUCATOR, "/activities/"),
                      (family, "/activities/"), ("", f"/activities/open/{CENTRE}")):  # fmt: skip
        assert "Spazio compiti" in await client.sign_in(who).page(path), path
