"""The pages as a browser without JavaScript uses them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts import shop
from web.roles import Role
from web.testing import Client, PageSeen, token
from web.translations import catalogs

Shop = Any
HERE = "centre-1"
TILL = "/shop/till/till-1"


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """Pages only show what commands and queries give, and these are tried on both engines."""
    return f"sqlite:///{tmp_path / 'store.db'}"


async def scanned(client: Client, *codes: str) -> PageSeen:
    page = await client.page(TILL)
    for code in codes:
        page = await page.form("scan").submit(code=code)
    return page


async def test_a_volunteer_scans_and_takes_cash(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(120, name="Pane")
    page = await shop_client.page("/shop/")
    page = await page.follow("1")
    assert "The basket is empty" in page
    page = await scanned(shop_client, bread.barcode, bread.barcode)
    assert "€2.40" in page
    page = await page.form("pay").submit(method="cash", tendered_cents="5,00")
    assert page.path.startswith("/shop/sales/")
    assert "Paid" in page
    assert "€2.60" in page, "the change"
    receipt = await page.follow("Receipt")
    assert "Pane" in receipt
    assert "€2.40" in receipt
    page = await page.follow("Next customer")
    assert "The basket is empty" in page
    page = await page.follow("Recent sales")
    assert "Paid" in page
    assert shop_bench.on_hand(bread.id) == 8


@pytest.mark.parametrize("key", ["number", "token"])
async def test_a_card_is_scanned_into_the_same_field(
    shop_bench: Shop, shop_client: Client, key: str
) -> None:
    card = shop_bench.card(points=42, number="123456789012")
    code = {"number": "1234 5678 9012", "token": f"token-{card}"}[key]
    page = await scanned(shop_client, code)
    assert "123456789012" in page
    assert "42 points" in page
    page = await page.form("forget-card").submit()
    assert "No card yet" in page


async def test_what_is_scanned_and_not_known_is_said_and_the_basket_stays(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100, name="Pane")
    page = await scanned(shop_client, bread.barcode)
    page = await page.form("scan").submit(code="999", status=422)
    assert "Neither a product nor a card has this code." in page
    assert "Pane" in page
    assert page.form("scan").values["code"] == "", "the next scan is typed into this field"
    page = await page.form("scan").submit(code="", status=422)
    assert "Pane" in page


async def test_pieces_are_changed_and_taken_out(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(100, name="Pane", on_hand=3)
    line = f"line-{bread.id}"
    page = await scanned(shop_client, bread.barcode)
    page = await page.form(line).submit(quantity=4)
    assert "€4.00" in page
    assert "only 3 on hand" in page
    page = await page.form(line).submit(quantity=5000, status=422)
    assert "5000 pieces cannot be sold on one line." in page
    page = await page.form(line).submit(remove="yes")
    assert "The basket is empty" in page
    page = await shop_client.page(f"{TILL}?q=pan")
    page = await page.form(f"add-{bread.id}").submit()
    assert "€1.00" in page
    page = await page.form("clear").submit()
    assert "The basket is empty" in page


async def test_what_was_taken_out_is_put_back_as_it_was(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100, name="Pane")
    line = f"line-{bread.id}"
    page = await scanned(shop_client, bread.barcode, bread.barcode, bread.barcode)
    page = await page.form(line).submit(remove="yes")
    assert "Taken out: Pane." in page
    page = await page.form("put-back").submit()
    assert page.form(line).values["quantity"] == "3"
    page = await shop_client.page(f"{TILL}?out=nothing&pieces=2")
    assert "Taken out" not in page


async def test_cash_is_taken_by_one_press_on_what_was_given(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(350, name="Pane")
    page = await scanned(shop_client, bread.barcode)
    assert 'value="500"' in page.html
    assert 'value="1000"' in page.html
    page = await page.form("pay").submit(quick_cents=1000)
    assert "€6.50" in page, "the change"
    page = await page.form("scan").submit(code=bread.barcode)
    assert page.path == TILL, "the next customer's first product is scanned where the change is"
    page = await page.form("pay").submit(quick_cents=350)
    assert "Change to give back" not in page
    assert shop_bench.on_hand(bread.id) == 8


async def test_points_are_offered_as_far_as_they_go(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(120, name="Pane")
    card = shop_bench.card(points=5)
    page = await scanned(shop_client, f"TOKEN-{card}", bread.barcode)
    assert "5 points and €0.70 in cash" in page
    page = await page.form("pay").submit(quick_points=5)
    sold = shop_bench.sale(page.path.rsplit("/", 1)[1])
    assert (sold.money_cents, sold.points) == (70, 5)
    none = shop_bench.card(points=0)
    page = await scanned(shop_client, f"TOKEN-{none}", bread.barcode)
    assert "quick_points" not in page.html
    assert "Pay with 0 points" not in page


async def test_what_has_no_barcode_is_offered_and_found_by_name(
    shop_bench: Shop, shop_client: Client
) -> None:
    eggs = shop_bench.product(30, name="Uova", barcode="")
    jam = shop_bench.product(400, name="Marmellata")
    page = await shop_client.page(TILL)
    assert "Uova" in page
    assert "Marmellata" not in page
    page = await shop_client.page(f"{TILL}?q=marm")
    assert "Uova" not in page
    page = await page.form(f"add-{jam.id}").submit()
    page = await page.form(f"add-{eggs.id}").submit()
    assert "€4.30" in page


async def test_a_sale_is_undone_by_a_form_that_is_filled_in(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread, milk = shop_bench.product(100), shop_bench.product(50)
    sold = shop_bench.sell((bread.id, 2), (milk.id, 1), cash=250)
    page = await (await shop_client.page(f"/shop/sales/{sold.id}")).follow("Undo the sale")
    page = await page.form("refund").submit()
    assert "Given back on" in page
    assert "Undo the sale" not in [text for text, _ in page.links]
    assert shop_bench.on_hand(bread.id) == 10
    assert shop_bench.on_hand(milk.id) == 10


async def test_a_refused_payment_leaves_the_basket_and_what_was_typed(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100, name="Pane", on_hand=1)
    card = shop_bench.card(points=5)
    page = await scanned(shop_client, bread.barcode, f"TOKEN-{card}")
    page = await page.form("pay").submit(
        method="cash", tendered_cents="0,50", points="3", status=422
    )
    assert "€ 1,00 is to be paid in cash, but € 0,50 was given." in page
    assert page.form("pay").values["tendered_cents"] == "0,50"
    assert page.form("pay").values["points"] == "3"
    assert "Pane" in page
    page = await page.form("pay").submit(method="points", tendered_cents="", status=422)
    assert "Points on the card: 5. Asked for: 10." in page
    page = await page.form("pay").submit(method="both", points="11", status=422)
    assert "So many points (11) are worth more than the basket." in page
    page = await page.form("pay").submit(
        method="both", points="x", tendered_cents="much", status=422
    )
    assert "Write a whole number." in page
    assert page.form("pay").values["tendered_cents"] == "much"
    assert shop_bench.on_hand(bread.id) == 1


async def test_stock_that_is_not_there_asks_for_a_reason_and_keeps_it(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100, on_hand=0)
    page = await scanned(shop_client, bread.barcode)
    page = await page.form("pay").submit(method="cash", status=422)
    assert "0 on hand, 1 wanted" in page
    page = await page.form("pay").submit(method="cash", override_reason="on the shelf")
    assert "Paid" in page
    assert shop_bench.bench.emitted(shop.StockMoved)[-1].override_reason == "on the shelf"


async def test_a_price_that_changed_meanwhile_is_shown_before_it_is_paid(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100)
    page = await scanned(shop_client, bread.barcode)
    await shop_client.patch(f"/shop/api/products/{bread.id}", json={"price_cents": 150})
    page = await page.form("pay").submit(method="cash", status=422)
    assert "The total is € 1,50 now." in page
    page = await page.form("pay").submit(method="cash")
    assert "Paid" in page


async def test_a_form_sent_twice_sells_once(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(100)
    pay = (await scanned(shop_client, bread.barcode)).form("pay")
    first = await pay.send(method="cash")
    second = await pay.send(method="cash")
    assert first.headers["location"] == second.headers["location"]
    assert shop_bench.on_hand(bread.id) == 9


async def test_a_sale_with_points_waits_on_its_page_and_follows_it(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(105)
    card = shop_bench.card(points=50)
    page = await scanned(shop_client, f"TOKEN-{card}", bread.barcode)
    assert page.form("pay").values["points"] == "10"
    page = await page.form("pay").submit(method="points")
    sale_id = page.path.rsplit("/", 1)[1]
    assert "Waiting for the points" in page
    assert f'data-live="sale.{sale_id}"' in page.html
    assert 'http-equiv="refresh"' in page.html
    sold = shop_bench.sale(sale_id)
    assert (sold.money_cents, sold.points) == (5, 10)
    shop_bench.hold_placed(sold)
    page = await page.follow("Look again")
    assert "Paid" in page
    assert 'http-equiv="refresh"' not in page.html


async def test_a_waiting_sale_is_given_up_and_a_declined_one_says_why(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(points=50)
    page = await scanned(shop_client, f"TOKEN-{card}", bread.barcode)
    page = await page.form("pay").submit(method="both", points=10)
    page = await page.form("cancel").submit()
    assert "The till gave it up." in page
    sold = shop_bench.sell((bread.id, 1), points=10, card_id=card)
    page = await shop_client.page(f"/shop/sales/{sold.id}")
    shop_bench.bench.deliver(shop_bench.declined(sold, "points.too_few"))
    late = await page.form("cancel").submit()
    assert "There were too few points on the card." in late
    shop_bench.points(sold.household_id, 50)
    done = shop_bench.sell((bread.id, 1), points=10, card_id=card)
    page = await shop_client.page(f"/shop/sales/{done.id}")
    shop_bench.hold_placed(done)
    page = await page.form("cancel").submit(status=422)
    assert "This sale is paid and completed." in page


async def test_goods_are_given_back_on_a_form_that_keeps_what_was_typed(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread, milk = shop_bench.product(100), shop_bench.product(50)
    sold = shop_bench.sell((bread.id, 2), (milk.id, 1), cash=250)
    page = await (await shop_client.page(f"/shop/sales/{sold.id}")).follow("Give back")
    page = await page.form("refund").submit(**{"lines.1.quantity": 1}, status=422)
    assert page.form("refund").values["lines.1.quantity"] == "1"
    page = await page.form("refund").submit(
        **{"lines.1.quantity": "", "reason": "broken"}, status=422
    )
    assert "Nothing was chosen." in page
    page = await page.form("refund").submit(**{"lines.0.quantity": 3}, status=422)
    assert "bought 2, given back already 0" in page
    assert page.form("refund").values["reason"] == "broken"
    page = await page.form("refund").submit(**{"lines.0.quantity": 2, "lines.1.quantity": 1})
    assert "Given back on" in page
    assert "Give back" not in [text for text, _ in page.links]
    assert shop_bench.on_hand(bread.id) == 10


async def test_the_day_is_closed_once(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(100)
    shop_bench.sell((bread.id, 2), cash=200)
    page = await (await shop_client.page(TILL)).follow("Close the day")
    assert "€2.00" in page
    page = await page.form("close").submit(counted_cents="x", status=422)
    assert page.form("close").values["counted_cents"] == "x"
    page = await page.form("close").submit(counted_cents="1,90")
    assert "-€0.10" in page
    page = await page.form("close").submit(counted_cents="0", status=422)
    assert "This till was closed today already." in page


async def test_products_are_kept_by_pages(shop_bench: Shop, shop_client: Client) -> None:
    page = await shop_client.page("/shop/products")
    assert "No product here." in page
    page = await page.follow("New product")
    page = await page.form("product").submit(name="Pane", price_cents="dear", status=422)
    assert page.form("product").values["name"] == "Pane"
    assert page.form("product").values["price_cents"] == "dear"
    page = await page.form("product").submit(price_cents="1,20", barcode="800", minimum=2)
    assert "The stock is low." in page
    page = await page.form("movement").submit(reason="delivery", quantity=5, note="bolla 7")
    assert "bolla 7" in page
    assert "The stock is low." not in page
    page = await page.form("movement").submit(reason="loss", quantity=6, status=422)
    assert "5 on hand, 6 wanted" in page
    page = await page.form("movement").submit(override_reason="counted")
    assert "counted" in page
    page = await page.follow("Change a product")
    assert page.form("product").values["price_cents"] == "1,20"
    page = await page.form("product").submit(price_cents="1,50", minimum=0)
    assert "€1.50" in page
    page = await shop_client.page("/shop/products?low=true&q=PA")
    assert "Pane" in page
    assert "low" in page
    second = await shop_client.page("/shop/products/new")
    second = await second.form("product").submit(
        name="Altro", price_cents="1", barcode="800", status=422
    )
    assert "Another product has the barcode 800." in second


async def test_a_coordinator_sets_the_shop_up(shop_bench: Shop, shop_client: Client) -> None:
    assert "Open a till" not in await shop_client.page("/shop/till")
    assert "New producer" not in await shop_client.page("/shop/producers")
    await shop_client.page("/shop/point-value", status=403)
    shop_client.sign_in(token(Role.COORDINATOR, centre=HERE))
    page = await shop_client.page("/shop/till")
    page = await page.form("open-till").submit(name="", status=422)
    page = await page.form("open-till").submit(name="Banco")
    assert "Banco" in page
    page = await shop_client.page("/shop/producers")
    page = await page.form("producer").submit(name="Orto", fee_percent=101, status=422)
    assert page.form("producer").values["name"] == "Orto"
    page = await page.form("producer").submit(fee_percent=10)
    assert "Orto" in page
    page = await page.form("producer").submit(name="orto", fee_percent=5, status=422)
    assert "There is already a producer with this name." in page
    page = await shop_client.page("/shop/point-value")
    assert "€0.10" in page
    page = await page.form("point-value").submit(cents="0,20")
    assert "Today a point pays €0.20" in page
    past = (shop_bench.clock.now() - timedelta(days=1)).date().isoformat()
    page = await page.form("point-value").submit(cents="0,30", from_day=past, status=422)
    assert "cannot be changed for the past" in page
    coming = (shop_bench.clock.now() + timedelta(days=1)).date().isoformat()
    page = await page.form("point-value").submit(cents="0,30", from_day=coming)
    assert "Today a point pays €0.20" in page
    assert "€0.30" in page


PAGES = [
    "/shop/till",
    TILL,
    f"{TILL}/sales",
    f"{TILL}/closing",
    "/shop/products",
    "/shop/products/new",
    "/shop/products/{product}",
    "/shop/products/{product}/edit",
    "/shop/producers",
    "/shop/sales/{sale}",
    "/shop/sales/{sale}/receipt",
    "/shop/sales/{sale}/refund",
]


async def test_who_may_see_the_pages(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=100)
    paths = [p.replace("{product}", bread.id).replace("{sale}", sold.id) for p in PAGES]
    for path in paths:
        await shop_client.page(path)
    shop_client.sign_in("")
    for path in [*paths, "/shop/producer"]:
        answer = await shop_client.get(path)
        assert (answer.status_code, answer.headers["location"][:9]) == (303, "/identity"), path
    shop_client.sign_in(token(Role.FAMILY, centre=HERE, household="h"))
    for path in [*paths, "/shop/producer"]:
        await shop_client.page(path, status=403)
    shop_client.sign_in(token(Role.TILL, centre="centre-2"))
    for path in paths:
        if "{" in PAGES[paths.index(path)] or path.startswith(TILL):
            await shop_client.page(path, status=404)
    page = await shop_client.page("/shop/products")
    assert bread.name not in page


async def test_other_centres_cannot_act_on_a_till_by_its_forms(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100)
    page = await scanned(shop_client, bread.barcode)
    forms = [page.form(name) for name in ("scan", "pay", "clear", f"line-{bread.id}")]
    # The same session keeps the form's token valid; the centre is another.
    shop_client.sign_in(token(Role.TILL, centre="centre-2", account="volunteer"))
    for form in forms:
        assert (await form.send()).status_code in (404, 422), form.action
    shop_client.sign_in(token(Role.TILL, centre=HERE, account="volunteer"))
    assert bread.name in await shop_client.page(TILL)


async def test_pages_speak_the_readers_language(shop_bench: Shop, shop_client: Client) -> None:
    seen = {}
    for language in ("it", "en", "ar", "es", "fr"):
        page = await shop_client.page(f"{TILL}?lang={language}")
        assert page.language == language
        assert page.direction == ("rtl" if language == "ar" else "ltr")
        seen[language] = page.text
    assert "Cassa" in seen["it"]
    assert len(set(seen.values())) == 5


def test_every_sentence_is_translated() -> None:
    assert catalogs.lacking("solidarity_shop") == []


async def test_who_may_listen_to_a_sale(shop_bench: Shop, shop_client: Client) -> None:
    from solidarity_shop.live import may_listen

    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=100)

    class Asking:
        def __init__(self, *roles: Role, centre: str) -> None:
            from web.roles import Caller

            self.caller = Caller(account_id="a", roles=frozenset(roles), centre_id=centre)
            self.centre = centre
            self.query = shop_client.store.read

    assert await may_listen(Asking(Role.TILL, centre=HERE), sold.id)  # type: ignore[arg-type]
    assert not await may_listen(Asking(Role.TILL, centre="centre-2"), sold.id)  # type: ignore[arg-type]
    assert not await may_listen(Asking(Role.FAMILY, centre=HERE), sold.id)  # type: ignore[arg-type]
    assert not await may_listen(Asking(Role.TILL, centre=HERE), "nothing")  # type: ignore[arg-type]


async def test_everybody_sees_what_is_on_the_shelf(shop_bench: Shop, shop_client: Client) -> None:
    shop_bench.product(120, name="Pane")
    shop_bench.product(90, name="Finito", on_hand=0)
    shop_bench.product(80, name="Ritirato", sellable=False)
    shop_client.sign_in("")
    page = await shop_client.page(f"/shop/open/{HERE}")
    assert "Pane" in page
    assert "€1.20" in page
    assert "Finito" not in page
    assert "Ritirato" not in page
    assert "The shelf is empty" in await shop_client.page("/shop/open/elsewhere")
