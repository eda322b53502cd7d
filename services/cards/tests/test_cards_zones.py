"""A centre far from Rome: days begin and end where it is, on the pages as in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from cards import commands, queries, store
from cards.app import SERVICE
from cards.models import HouseholdNew, Member
from contracts.activities import SignUpConfirmed
from contracts.identity import CentreOpened
from runtime.clock import FixedClock
from web.roles import Role
from web.testing import Client, token

CANARIES = "Atlantic/Canary"
"""An hour behind Rome; in winter its clocks show UTC."""
LEAD = token(Role.COORDINATOR, centre="c1", zone=CANARIES)
FOUNDATION = token(Role.ADMINISTRATOR, foundation=True)


@pytest.fixture
async def client(bench: Any, store_url: str, clock: FixedClock) -> AsyncIterator[Client]:
    """The pages on the bench's store, which has heard of the centre."""
    bench.deliver(
        CentreOpened(centre_id="c1", name="Las Palmas", time_zone=CANARIES, opened_at=clock.now())
    )
    async with Client(SERVICE, store_url, clock=clock, ids=bench.ids) as made:
        yield made.sign_in(LEAD)


async def registered(client: Client) -> str:
    new = HouseholdNew(members=[Member(given_name="Amina", family_name="Rossi")])
    return await client.run(lambda tx: commands.register_household(tx, new), centre="c1")


@pytest.mark.parametrize("who", [LEAD, FOUNDATION], ids=["coordinator", "foundation"])
async def test_points_end_with_the_day_that_was_written_and_is_shown(
    client: Client, who: str
) -> None:
    here = await registered(client)
    client.sign_in(who)
    page = await client.page(f"/cards/households/{here}")
    page = await page.form("adjust").submit(points="30", reason="feast", expires_on="2026-12-05")
    now = client.clock.now()
    seen = await client.read(lambda c: queries.points(c, here, now))
    assert seen.buckets[0].expires_at == datetime(2026, 12, 5, 23, 59, 59, tzinfo=UTC)
    assert "Until 5 Dec 2026" in page
    assert "the first on 5 Dec 2026" in page
    client.sign_in(token(Role.FAMILY, centre="c1", household=here, zone=CANARIES))
    assert "Until 5 Dec 2026" in await client.page("/cards/me")


@pytest.mark.parametrize("who", [LEAD, FOUNDATION], ids=["coordinator", "foundation"])
async def test_a_rule_begins_with_the_day_that_was_written(client: Client, who: str) -> None:
    client.sign_in(who)
    form = (await client.page("/cards/rules")).form("rule")
    named = {"centre_id": "c1"} if who is FOUNDATION else {}
    await form.submit(per_euro="2", from_day="2026-12-01", **named)
    began = await client.read(lambda c: c.scalar(sa.select(store.earning_rule.c.from_time)))
    assert began == datetime(2026, 12, 1, tzinfo=UTC)


async def test_today_is_not_over_before_midnight_of_the_centre(
    bench: Any, client: Client, clock: FixedClock
) -> None:
    here = await registered(client)
    bench.deliver(
        SignUpConfirmed(
            signup_id="s1",
            session_id="session-1",
            centre_id="c1",
            person_id="p1",
            household_id=here,
            title="Spazio compiti",
            starts_at=datetime(2026, 11, 16, 18, 0, tzinfo=UTC),
            at=clock.now(),
        )
    )
    clock.set(datetime(2026, 11, 16, 23, 30, tzinfo=UTC))
    family = token(Role.FAMILY, centre="c1", household=here, zone=CANARIES)
    for who, path in ((LEAD, f"/cards/households/{here}"), (family, "/cards/me")):
        page = await client.sign_in(who).page(path)
        coming = page.html.split('id="coming-title"')[1].split("</section>")[0]
        assert "Spazio compiti" in coming
        assert "Today" in coming
        assert "A place in “Spazio compiti” on 16 Nov 2026, 18:00" in page, "as its clocks show it"
