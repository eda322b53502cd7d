"""What is shown of a producer's sales: to itself, and to those who settle with it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runtime.refusals import Invalid
from solidarity_shop import commands
from solidarity_shop.domain.months import Month
from web.roles import Role
from web.testing import Client, token

Shop = Any
HERE = "centre-1"
ROME = ZoneInfo("Europe/Rome")
OWN = "/shop/producer"
OF_ORTO = "/shop/producers/orto"


@pytest.fixture
def orto(shop_bench: Shop) -> str:
    """A jam of 5 € by Orto, of which the shop keeps 10 %; beside it another workshop."""
    for name in ("orto", "telaio"):
        shop_bench.run(
            lambda tx, name=name: commands.register_producer(
                tx, centre_id=HERE, name=name, fee_percent=10, producer_id=name
            )
        )
    made = shop_bench.product(500, name="Marmellata", producer_id="orto", on_hand=90)
    return str(made.id)


def at(shop_bench: Shop, *moment: int) -> None:
    """It is so late where the centre is."""
    shop_bench.clock.set(datetime(*moment, tzinfo=ROME))  # type: ignore[arg-type, misc]


async def test_a_producer_sees_what_was_sold_of_theirs_alone(
    shop_bench: Shop, shop_client: Client, orto: str
) -> None:
    scarf = shop_bench.product(900, name="Sciarpa", producer_id="telaio")
    shop_bench.sell((orto, 2), (scarf.id, 1), cash=1900)
    shop_client.sign_in(token(Role.PRODUCER, centre=HERE, producer="orto"))
    page = await shop_client.page("/shop/")
    assert page.path == OWN
    assert "Marmellata" in page
    assert "Sciarpa" not in page
    assert "For you €9.00" in page
    assert "Sold €10.00" in page
    shop_bench.clock.advance(timedelta(days=1))
    assert "Nothing of yours was sold in this time." in await shop_client.page(OWN)
    shop_client.sign_in(token(Role.PRODUCER, centre=HERE))
    await shop_client.page(OWN, status=404)
    shop_client.sign_in(token(Role.PRODUCER, centre="another", producer="orto"))
    await shop_client.page(OWN, status=404)


async def test_the_month_before_is_seen_to_its_last_hour_where_the_centre_is(
    shop_bench: Shop, shop_client: Client, orto: str
) -> None:
    at(shop_bench, 2027, 1, 31, 23, 59)
    shop_bench.sell((orto, 1), cash=500)
    at(shop_bench, 2027, 2, 1, 0, 1)
    shop_bench.sell((orto, 2), cash=1000)
    at(shop_bench, 2027, 2, 28, 23, 59)
    shop_bench.sell((orto, 4), cash=2000)
    at(shop_bench, 2027, 3, 1, 0, 1)
    shop_bench.sell((orto, 8), cash=4000)
    shop_client.sign_in(token(Role.PRODUCER, centre=HERE, producer="orto"))
    page = await shop_client.page(OWN)
    assert "Today For you €36.00 Sold €40.00" in page
    assert "This month For you €36.00 Sold €40.00" in page
    assert "The month after" not in page
    february = await page.follow("The month before")
    assert "From 1 Feb 2027 to 28 Feb 2027 For you €27.00 Sold €30.00" in february
    assert "Today" not in february
    january = await february.follow("The month before")
    assert "From 1 Jan 2027 to 31 Jan 2027 For you €4.50 Sold €5.00" in january
    again = await (await january.follow("The month after")).follow("The month after")
    assert "This month For you €36.00" in again


async def test_no_month_is_offered_from_before_the_producer_came(
    shop_bench: Shop, shop_client: Client, orto: str
) -> None:
    shop_client.sign_in(token(Role.PRODUCER, centre=HERE, producer="orto"))
    assert "The month before" not in await shop_client.page(OWN)


async def test_those_who_lead_see_a_months_sales_of_each_producer(
    shop_bench: Shop, shop_client: Client, orto: str
) -> None:
    at(shop_bench, 2027, 2, 10, 12)
    shop_bench.sell((orto, 2), cash=1000)
    at(shop_bench, 2027, 3, 1, 12)
    assert "/shop/producers/" not in (await shop_client.get("/shop/producers")).text
    await shop_client.page(OF_ORTO, status=403)
    shop_client.sign_in(token(Role.COORDINATOR, centre=HERE))
    page = await (await shop_client.page("/shop/producers")).follow("orto")
    assert page.path == OF_ORTO
    assert "Nothing was sold in this time." in page
    page = await page.follow("The month before")
    assert "For the producer €9.00 Sold €10.00" in page
    assert "Marmellata" in page
    shop_client.sign_in(token(Role.COORDINATOR, centre="another"))
    assert "This producer does not exist." in await shop_client.page(OF_ORTO, status=404)
    shop_client.sign_in(token(Role.PRODUCER, centre=HERE, producer="orto"))
    await shop_client.page(OF_ORTO, status=403)


@pytest.mark.parametrize(
    "month",
    ["2027-04", "2027-13", "2027-00", "1999-12", "0000-01", "2027-3", "marzo", "２０２７-03"],
)
async def test_what_is_no_month_up_to_now_is_said(
    shop_bench: Shop, shop_client: Client, orto: str, month: str
) -> None:
    at(shop_bench, 2027, 3, 1, 12)
    shop_client.sign_in(token(Role.PRODUCER, centre=HERE, producer="orto"))
    page = await shop_client.page(f"{OWN}?month={month}", status=422)
    assert f"Of “{month}” nothing can be shown" in page
    assert "Write the month like 2027-03, or leave it out." in page
    shop_client.sign_in(token(Role.COORDINATOR, centre=HERE))
    await shop_client.page(f"{OF_ORTO}?month={month}", status=422)


def test_months_follow_each_other_and_begin_at_midnight() -> None:
    december = Month.of(date(2026, 12, 31))
    assert (str(december), str(december.before), str(december.after)) == (
        "2026-12",
        "2026-11",
        "2027-01",
    )
    march = Month.named("2027-03", latest=Month(2027, 3))
    begins, ends = march.bounds(ROME)
    assert begins.astimezone(UTC) == datetime(2027, 2, 28, 23, tzinfo=UTC)
    assert ends.astimezone(UTC) == datetime(2027, 3, 31, 22, tzinfo=UTC), "in summer time"
    assert march.last == date(2027, 3, 31)
    with pytest.raises(Invalid, match=r"month\.unknown"):
        Month.named("2027-03", latest=Month(2027, 2))
