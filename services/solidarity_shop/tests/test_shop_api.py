"""The HTTP API: what it answers, what it refuses and in which words, and to whom."""

from __future__ import annotations

import json
from typing import Any

import httpx
from structlog.testing import capture_logs

from web.roles import Role
from web.testing import Client, token

Shop = Any
HERE = "centre-1"


def sale(bread: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "sale-1",
        "lines": [{"product_id": bread, "quantity": 1}],
        "payments": [{"method": "cash", "amount_cents": 100}],
        **more,
    }


async def test_a_shop_is_set_up_and_sells_through_its_api(
    shop_bench: Shop, shop_client: Client
) -> None:
    shop_client.sign_in(token(Role.COORDINATOR, centre=HERE))
    post = shop_client.post
    made = await post("/shop/api/producers", json={"name": "Orto", "fee_percent": 10})
    assert made.status_code == 201
    orto = made.json()
    made = await post(
        "/shop/api/products",
        json={
            "name": "Jam",
            "price_cents": 350,
            "barcode": "8001",
            "category": "food",
            "producer_id": orto["id"],
            "minimum": 2,
        },
    )
    assert made.status_code == 201, made.text
    jam = made.json()
    assert (jam["on_hand"], jam["low"], jam["producer_name"]) == (0, True, "Orto")
    made = await post(
        f"/shop/api/products/{jam['id']}/stock-movements",
        json={"id": "m-1", "reason": "delivery", "quantity": 12, "note": "12/26"},
    )
    assert made.status_code == 201
    assert made.json()["on_hand"] == 12
    till = (await post("/shop/api/tills", json={"name": "Cassa"})).json()
    made = await post(
        f"/shop/api/tills/{till['id']}/sales",
        json={
            "id": "s-1",
            "card": None,
            "lines": [{"barcode": "8001", "quantity": 2}],
            "payments": [{"method": "cash", "amount_cents": 700}],
            "tendered_cents": 1000,
        },
    )
    assert made.status_code == 201
    assert made.json()["state"] == "completed"
    assert made.json()["change_cents"] == 300
    seen = (await shop_client.get("/shop/api/sales/s-1")).json()
    assert seen == made.json()
    back = await post(
        "/shop/api/sales/s-1/refunds",
        json={
            "id": "r-1",
            "lines": [{"product_id": jam["id"], "quantity": 1}],
            "reason": "broken",
            "goods_returned": False,
        },
    )
    assert back.status_code == 201
    assert (back.json()["money_cents"], back.json()["points"]) == (350, 0)
    (listed,) = (await shop_client.get(f"/shop/api/tills/{till['id']}/sales")).json()["items"]
    assert listed == (await shop_client.get("/shop/api/sales/s-1")).json()
    assert (listed["refunds"], listed["lines"][0]["refunded"]) == ([back.json()], 1)
    everywhere = (await shop_client.get("/shop/api/sales?state=completed")).json()["items"]
    assert everywhere == [listed]
    assert (await shop_client.get("/shop/api/sales?state=cancelled")).json()["items"] == []
    named = await shop_client.get("/shop/api/sales?centre_id=centre-2")
    assert named.status_code == 403
    changed = await shop_client.patch(f"/shop/api/products/{jam['id']}", json={"price_cents": 400})
    assert (changed.status_code, changed.json()["price_cents"]) == (200, 400)
    log = (await shop_client.get(f"/shop/api/products/{jam['id']}/stock-movements")).json()
    assert [item["quantity"] for item in log["items"]] == [-2, 12] or len(log["items"]) == 2
    taken = (await shop_client.get(f"/shop/api/tills/{till['id']}/takings")).json()
    assert taken["money_cents"] == 350
    closed = await post(f"/shop/api/tills/{till['id']}/closings", json={"counted_cents": 350})
    assert (closed.status_code, closed.json()["difference_cents"]) == (201, 0)
    again = await post(f"/shop/api/tills/{till['id']}/closings", json={"counted_cents": 350})
    assert (again.status_code, again.json()["reason"]) == (409, "day.closed_already")
    assert (
        len((await shop_client.get(f"/shop/api/tills/{till['id']}/closings")).json()["items"]) == 1
    )
    value = await post("/shop/api/point-values", json={"cents": 20})
    assert value.status_code == 201
    assert (await shop_client.get("/shop/api/point-values")).json()["items"][0]["cents"] == 20
    assert len((await shop_client.get("/shop/api/producers")).json()["items"]) == 1
    assert len((await shop_client.get("/shop/api/tills")).json()["items"]) == 2


async def test_a_sale_with_points_waits_and_can_be_given_up(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(points=10)
    body = sale(
        bread.id,
        card={"token": f"TOKEN-{card}"},
        payments=[{"method": "points", "points": 10}],
    )
    made = await shop_client.post("/shop/api/tills/till-1/sales", json=body)
    assert made.json()["state"] == "waiting_for_points"
    assert made.json()["points_state"] == "requested"
    gone = await shop_client.post("/shop/api/sales/sale-1/cancel")
    assert (gone.status_code, gone.json()["state"], gone.json()["reason"]) == (
        200,
        "cancelled",
        "by_till",
    )


async def test_the_same_sale_again_is_answered_the_same_and_another_is_refused(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100, on_hand=1)
    path = "/shop/api/tills/till-1/sales"
    first = await shop_client.post(path, json=sale(bread.id))
    assert (await shop_client.post(path, json=sale(bread.id))).json() == first.json()
    keyed = {"Idempotency-Key": "k"}
    again = await shop_client.post(path, json=sale(bread.id), headers=keyed)
    assert again.json() == first.json()
    other = sale(bread.id, lines=[{"product_id": bread.id, "quantity": 2}])
    refused = await shop_client.post(path, json=other)
    assert (refused.status_code, refused.json()["reason"]) == (
        422,
        "sale.repeated_with_other_content",
    )
    refused = await shop_client.post(path, json=other, headers=keyed)
    assert refused.json()["reason"] == "idempotency.other_content"
    assert shop_bench.on_hand(bread.id) == 0


async def test_refusals_are_problems_in_the_readers_language(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(250, on_hand=1)
    blocked = shop_bench.card(points=5)
    path = "/shop/api/tills/till-1/sales"
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"card": {"number": "1"}}, 422, "card.unknown"),
        ({"payments": [{"method": "cash", "amount_cents": 240}]}, 422, "amounts.do_not_add_up"),
        ({"payments": []}, 422, "amounts.do_not_add_up"),
        ({"lines": []}, 422, "lines.empty"),
        ({"lines": [{"product_id": "x", "quantity": 1}]}, 422, "product.unknown"),
        ({"lines": [{"barcode": "x", "quantity": 1}]}, 422, "product.unknown"),
        ({"lines": [{"product_id": bread.id, "quantity": 0}]}, 422, "quantity.out_of_limits"),
        (
            {
                "lines": [{"product_id": bread.id, "quantity": 2}],
                "payments": [{"method": "cash", "amount_cents": 500}],
            },
            409,
            "stock.none",
        ),
        (
            {
                "card": {"token": f"TOKEN-{blocked}"},
                "payments": [{"method": "points", "points": 25}],
            },
            409,
            "points.too_few",
        ),
    ]
    for changes, status, reason in cases:
        answer = await shop_client.post(path, json=sale(bread.id, **changes))
        problem = answer.json()
        assert (answer.status_code, problem["reason"]) == (status, reason), problem
        assert problem["detail"]
        assert problem["next_step"]
        assert answer.headers["content-type"].startswith("application/problem+json")
    answer = await shop_client.post(
        path,
        json=sale(bread.id, payments=[{"method": "cash", "amount_cents": 240}]),
        headers={"Accept-Language": "it"},
    )
    assert answer.json()["detail"] == "Il totale è € 2,50, ma sono stati pagati € 2,40."
    assert shop_bench.on_hand(bread.id) == 1
    assert (await shop_client.get("/shop/api/sales/sale-1")).status_code == 404


BROKEN: list[dict[str, Any]] = [
    {"id": "with space"},
    {"id": "x" * 65},
    {"id": ""},
    {"unknown": 1},
    {"card": {}},
    {"card": {"token": "a", "number": "b"}},
    {"lines": [{"quantity": 1}]},
    {"lines": [{"product_id": "p", "barcode": "b", "quantity": 1}]},
    {"lines": [{"product_id": "p", "quantity": "many"}]},
    {"payments": [{"method": "gold", "amount_cents": 1}]},
    {"payments": [{"method": "cash"}]},
    {"tendered_cents": -1},
    {"override_reason": "a\u0000b"},
]


async def test_what_makes_no_sense_is_refused_by_field(shop_client: Client) -> None:
    for broken in BROKEN:
        answer = await shop_client.post("/shop/api/tills/till-1/sales", json=sale("p", **broken))
        assert answer.status_code == 422, broken
        assert answer.json()["reason"] == "input.invalid", broken
        assert answer.json()["errors"], broken


READS = [
    "/shop/api/producers",
    "/shop/api/products",
    "/shop/api/products/{product}",
    "/shop/api/products/{product}/stock-movements",
    "/shop/api/tills",
    "/shop/api/tills/till-1/takings",
    "/shop/api/tills/till-1/sales",
    "/shop/api/tills/till-1/closings",
    "/shop/api/sales/{sale}",
    "/shop/api/point-values",
]
SELLS: list[tuple[str, dict[str, Any]]] = [
    ("/shop/api/products", {"name": "x", "price_cents": 1}),
    ("/shop/api/products/{product}/stock-movements", {"reason": "delivery", "quantity": 1}),
    ("/shop/api/tills/till-1/sales", sale("{product}")),
    ("/shop/api/sales/{sale}/cancel", {}),
    (
        "/shop/api/sales/{sale}/refunds",
        {"id": "r", "lines": [{"product_id": "{product}", "quantity": 1}], "reason": "x"},
    ),
    ("/shop/api/tills/till-1/closings", {"counted_cents": 0}),
]
LEADS: list[tuple[str, dict[str, Any]]] = [
    ("/shop/api/producers", {"name": "x"}),
    ("/shop/api/tills", {"name": "x"}),
    ("/shop/api/point-values", {"cents": 10}),
]


async def test_who_may_ask_what(shop_bench: Shop, shop_client: Client) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=100)
    at = lambda path: path.replace("{product}", bread.id).replace("{sale}", sold.id)  # noqa: E731

    async def post(path: str, body: dict[str, Any]) -> httpx.Response:
        return await shop_client.post(at(path), json=json.loads(at(json.dumps(body))))

    async def statuses() -> tuple[set[int], set[int], set[int]]:
        reads = {(await shop_client.get(at(path))).status_code for path in READS}
        sells = {(await post(p, body)).status_code for p, body in SELLS}
        leads = {(await post(p, body)).status_code for p, body in LEADS}
        return reads, sells, leads

    shop_client.sign_in("")
    assert await statuses() == ({401}, {401}, {401})
    for role in (Role.RECEPTION, Role.EDUCATOR, Role.FAMILY, Role.PRODUCER, Role.PARTNER):
        shop_client.sign_in(token(role, centre=HERE, producer="p", household="h"))
        assert await statuses() == ({403}, {403}, {403}), role
    shop_client.sign_in(token(Role.TILL, centre=HERE, scopes=["shop:read"]))
    reads, sells, leads = await statuses()
    assert (reads, sells, leads) == ({200}, {403}, {403})
    shop_client.sign_in(token(Role.TILL))
    assert (await statuses())[0] == {403}, "a till without a centre"
    shop_client.sign_in(token(Role.TILL, centre=HERE, scopes=["shop:write"]))
    reads, _, leads = await statuses()
    assert (reads, leads) == ({403}, {403})
    shop_client.sign_in(token(Role.TILL, centre=HERE))
    reads, sells, leads = await statuses()
    assert (reads, leads) == ({200}, {403})
    assert 403 not in sells
    shop_client.sign_in(token(Role.ADMINISTRATOR))
    assert (await statuses())[0] == {200}


async def test_what_is_of_another_centre_does_not_exist(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=100)
    shop_client.sign_in(token(Role.COORDINATOR, centre="centre-2"))
    at = lambda path: path.replace("{product}", bread.id).replace("{sale}", sold.id)  # noqa: E731
    for path in READS:
        answer = await shop_client.get(at(path))
        if path.count("/") > 3:
            assert answer.status_code == 404, path
        else:
            assert answer.json()["items"] == [], path
    events = shop_bench.bench.emitted()
    for path, body in SELLS[1:]:
        sent = json.loads(at(json.dumps(body)))
        assert (await shop_client.post(at(path), json=sent)).status_code == 404, path
    changed = await shop_client.patch(f"/shop/api/products/{bread.id}", json={"price_cents": 1})
    assert changed.status_code == 404
    named = await shop_client.post("/shop/api/tills", json={"name": "x", "centre_id": HERE})
    assert named.status_code == 403
    assert shop_bench.bench.emitted() == events


async def test_the_foundation_names_the_centre(shop_bench: Shop, shop_client: Client) -> None:
    shop_client.sign_in(token(Role.ADMINISTRATOR))
    body = {"name": "Bread", "price_cents": 100}
    refused = await shop_client.post("/shop/api/products", json=body)
    assert (refused.status_code, refused.json()["reason"]) == (422, "auth.centre_missing")
    made = await shop_client.post("/shop/api/products", json={**body, "centre_id": "centre-9"})
    assert made.json()["centre_id"] == "centre-9"


async def test_lists_are_paged_and_products_are_found(
    shop_bench: Shop, shop_client: Client
) -> None:
    for name in ("Zucca", "albicocca", "Mela 50%", "mela"):
        shop_bench.product(name=name, on_hand=0 if name == "mela" else 3, minimum=1)
    names, after = [], ""
    while True:
        page = (
            await shop_client.get("/shop/api/products", params={"limit": 3, "after": after})
        ).json()
        names += [item["name"] for item in page["items"]]
        if not (after := page["next"] or ""):
            break
    assert names == ["albicocca", "mela", "Mela 50%", "Zucca"]

    async def found(**params: str) -> list[str]:
        page = (await shop_client.get("/shop/api/products", params=params)).json()
        return [item["name"] for item in page["items"]]

    assert await found(name="MELA") == ["mela", "Mela 50%"]
    assert await found(name="%") == ["Mela 50%"]
    assert await found(low="true") == ["mela"]
    assert await found(barcode="nothing") == []
    wrong = await shop_client.get("/shop/api/products", params={"after": "x"})
    assert wrong.status_code == 422


async def test_ids_that_can_be_none_are_told_so(shop_client: Client) -> None:
    for path in ("/shop/api/sales/%00", "/shop/api/products/a%20b"):
        assert (await shop_client.get(path)).status_code in (404, 422)


async def test_the_document_names_every_endpoint(shop_client: Client) -> None:
    document = (await shop_client.get("/shop/openapi.json")).json()
    paths = {path for path in document["paths"] if path.startswith("/shop/api/")}
    for path in (
        "/shop/api/products",
        "/shop/api/products/{product_id}/stock-movements",
        "/shop/api/tills/{till_id}/sales",
        "/shop/api/sales/{sale_id}",
        "/shop/api/sales/{sale_id}/refunds",
        "/shop/api/tills/{till_id}/closings",
    ):
        assert path in paths


async def test_the_log_names_the_whole_route(shop_bench: Shop, shop_client: Client) -> None:
    shop_client.sign_in(token(Role.TILL, centre=HERE))
    with capture_logs() as lines:
        await shop_client.get("/shop/api/sales/unknown")
    assert [line["route"] for line in lines if line["event"] == "web.request"] == [
        "/shop/api/sales/{sale_id}"
    ]
