"""What the house promises, walked through its front door with real parts."""

from __future__ import annotations

import json
import os
import signal
import uuid
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from house import House, unique

from messaging.tables import place
from runtime.testing import eventually
from vicinato.settings import SERVICES

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("house"), pytest.mark.timeout(300)]


def test_a_sale_in_money_credits_the_card(house: House) -> None:
    family = house.household()
    sale = house.sell(house.product(350, 3), card=family["card"], cash=350)
    assert sale["state"] == "completed"
    eventually(lambda: house.points(family["id"]) == (3, 0), within=20, why="3 points for 3.50 €")


def test_points_pay_for_a_sale_and_are_taken_once(house: House) -> None:
    family = house.household()
    path = f"/cards/api/households/{family['id']}/points/adjustments"
    house.post(path, {"points": 50, "reason": "dotazione"}, by="coordinator")
    house.quiet()
    sale = house.sell(house.product(400, 3), card=family["card"], cash=100, points=30)
    path = f"/shop/api/sales/{sale['id']}"

    def completed() -> bool:
        return bool(house.get(path, by="till")["state"] == "completed")

    eventually(completed, within=20, why="cards sets the points aside and the sale completes")
    eventually(lambda: house.points(family["id"]) == (21, 0), within=20, why="50 - 30 + 1 for 1 €")


def test_too_few_points_are_refused_with_a_reason_and_the_stock_stays(house: House) -> None:
    family = house.household()
    product = house.product(400, 1)
    problem = house.sell(product, card=family["card"], points=40, status=409)
    assert problem["reason"] == "points.too_few"
    assert problem["next_step"]
    assert house.get(f"/shop/api/products/{product}", by="till")["on_hand"] == 1


def test_a_waiting_list_moves_and_the_family_reads_it(house: House) -> None:
    session = house.session(capacity=1)
    first, second = (
        house.household(
            {
                "given_name": name,
                "family_name": "Prova",
                "email": f"{unique('m')}@famiglie.example",
            },
            consents=("messages",),
        )
        for name in ("Uno", "Due")
    )
    path = f"/activities/api/sessions/{session}/sign-ups"

    def sign_up(household: dict[str, list[dict[str, str]]]) -> dict[str, str]:
        body = {"person_id": household["members"][0]["id"]}
        made = house.post(path, body, by="educator")
        return dict(made["sign_ups"][0])

    confirmed, waiting = sign_up(first), sign_up(second)
    assert (confirmed["state"], waiting["state"]) == ("confirmed", "waiting")
    house.post(f"/activities/api/sign-ups/{confirmed['id']}/cancel", by="educator")
    found = house.get(f"/activities/api/sessions/{session}", by="educator")
    states = {one["id"]: one["state"] for one in found["sign_ups"]}
    assert states[waiting["id"]] == "offered"
    account = unique("famiglia")
    house.account(account, ["family"], household_id=second["id"])

    def told() -> bool:
        messages = house.get("/notifications/api/messages", by=account)["items"]
        return any(m["kind"].endswith("offered") for m in messages)

    eventually(told, within=20, why="the offer is in the family's inbox")


def test_attendance_credits_points_once_and_a_correction_takes_them_back(house: House) -> None:
    family = house.household()
    session = house.session(capacity=3, in_days=0)
    person = family["members"][0]["id"]
    register = f"/activities/api/sessions/{session}/register"
    entries = [{"person_id": person, "present": True}]
    before = house.points(family["id"])[0]
    house.ask("PUT", register, "educator", {"entries": entries})
    house.ask("PUT", register, "educator", {"entries": entries})
    eventually(lambda: house.points(family["id"])[0] == before + 5, within=20, why="5 points")
    entries[0]["present"] = False
    house.ask("PUT", register, "educator", {"entries": entries})
    eventually(lambda: house.points(family["id"])[0] == before, within=20, why="taken back")


def test_a_referral_comes_back_with_an_outcome_on_the_timeline(house: House) -> None:
    family = house.household(consents=("referrals",))
    organisation = house.post(
        "/network/api/organisations",
        {"name": unique("Auser"), "areas": ["elderly"]},
        by="coordinator",
    )
    partner = unique("partner")
    house.account(partner, ["partner"], organisation_id=organisation["id"])
    referral = house.post(
        "/network/api/referrals",
        {
            "household_id": family["id"],
            "area": "elderly",
            "zone": "Satta",
            "to_organisation_id": organisation["id"],
        },
        by="case_worker",
    )
    house.post(f"/network/api/referrals/{referral['id']}/accept", {}, by=partner)
    closed = house.post(
        f"/network/api/referrals/{referral['id']}/complete", {"outcome": "met"}, by=partner
    )
    assert closed["state"] == "completed"

    def seen() -> bool:
        path = f"/cards/api/households/{family['id']}/timeline"
        items = house.get(path, by="reception")["items"]
        kinds = {item["kind"] for item in items}
        return {"referral.requested", "referral.completed"} <= {
            k.split("network.")[-1] for k in kinds
        }

    eventually(seen, within=20, why="the referral stands on the household's timeline")


def test_a_sign_out_is_honoured_by_every_service_within_two_seconds(house: House) -> None:
    name = unique("volontario")
    house.account(name, ["coordinator"])
    token = house.tokens[name]
    probes = {
        "cards": "/cards/api/households",
        "shop": "/shop/api/products",
        "activities": "/activities/api/sessions",
        "notifications": "/notifications/api/messages",
        "network": "/network/api/referrals",
        "identity": "/identity/api/tokens",
    }
    for path in probes.values():
        house.get(path, by=name)
    mine = house.get("/identity/api/tokens", by=name)["items"]
    house.ask("DELETE", f"/identity/api/tokens/{mine[0]['id']}", name)
    headers = {"Authorization": f"Bearer {token}"}

    def refused() -> bool:
        return all(house.http.get(p, headers=headers).status_code == 401 for p in probes.values())

    eventually(refused, within=2, why="every service refuses the token")


@pytest.mark.parametrize("service", ["shop", "cards"])
def test_a_killed_service_comes_back_and_loses_nothing(house: House, service: str) -> None:
    family = house.household()
    product = house.product(200, 10)
    done = [house.sell(product, card=family["card"], cash=200) for _ in range(3)]
    os.kill(house.child(service), signal.SIGKILL)

    def sells() -> bool:
        try:
            done.append(house.sell(product, card=family["card"], cash=200))
        except (AssertionError, httpx.HTTPError):
            return False
        return True

    eventually(sells, within=40, why="the till works again")
    house.quiet()
    completed = [s["id"] for s in done]
    assert len(set(completed)) == len(completed)

    def credited() -> bool:
        entries = house.get(
            f"/cards/api/households/{family['id']}/points/entries?limit=200", by="coordinator"
        )["items"]
        origins = [e["origin"] for e in entries if e["kind"] == "sale"]
        return set(completed) <= set(origins) and len(origins) == len(set(origins))

    eventually(credited, within=30, why="every acknowledged sale is credited once")


def test_the_till_sells_while_kafka_is_away(house: House) -> None:
    family = house.household()
    product = house.product(200, 5)
    os.kill(house.child("kafka"), signal.SIGKILL)
    sale = house.sell(product, card=family["card"], cash=200)
    assert sale["state"] == "completed"
    house.quiet(within=120)
    eventually(lambda: house.points(family["id"])[0] == 2, within=30, why="credited afterwards")


def test_one_fact_is_followed_through_the_logs_by_its_correlation(house: House) -> None:
    family = house.household({"given_name": "Zubaida", "family_name": "Introvabile"})
    correlation = str(uuid.uuid4())
    headers = {
        "Authorization": f"Bearer {house.tokens['till']}",
        "X-Correlation-ID": correlation,
    }
    product = house.product(500, 2)
    answer = house.http.post(
        f"/shop/api/tills/{house.till}/sales",
        json={
            "id": str(uuid.uuid4()),
            "card": {"token": family["card"]["token"]},
            "lines": [{"product_id": product, "quantity": 1}],
            "payments": [{"method": "cash", "amount_cents": 500}],
        },
        headers=headers,
    )
    assert answer.headers["X-Correlation-ID"] == correlation

    def followed() -> bool:
        found = {
            name
            for name in SERVICES
            if correlation in house.folder.log(name).read_text("utf-8", "replace")
        }
        return {"shop", "cards"} <= found

    eventually(followed, within=20, why="shop and cards log the same correlation")
    for name in SERVICES:
        text = house.folder.log(name).read_text("utf-8", "replace")
        assert "Zubaida" not in text
        assert "Introvabile" not in text
        assert family["card"]["token"] not in text


def test_log_lines_are_json_with_dotted_names(house: House) -> None:
    for name in SERVICES:
        lines = house.folder.log(name).read_text("utf-8", "replace").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        assert told, name
        assert all(line["service"] == name for line in told)


def test_metrics_do_not_go_through_the_front_door(house: House) -> None:
    for name in SERVICES:
        for path in (f"/{name}/metrics", "/metrics"):
            assert house.http.get(path).status_code in (303, 404), path
        prefix = f"/{name}"
        assert house.http.get(f"{prefix}/openapi.json").json()["openapi"].startswith("3.")
        assert house.http.get(f"{prefix}/asyncapi.json").json()["asyncapi"] == "3.0.0"
        assert "vicinato_outbox_age_seconds" in house.metrics(name)


def test_an_offer_runs_out_when_its_time_has_come(house: House) -> None:
    session = house.session(capacity=1, in_days=10)
    path = f"/activities/api/sessions/{session}/sign-ups"
    ids = []
    for _ in range(3):
        family = house.household()
        made = house.post(path, {"person_id": family["members"][0]["id"]}, by="educator")
        ids.append(made["sign_ups"][0]["id"])
    house.post(f"/activities/api/sign-ups/{ids[0]}/cancel", by="educator")
    house.clock.play(house.clock.offset() + timedelta(hours=48, minutes=1))

    def moved_on() -> bool:
        found = house.get(f"/activities/api/sessions/{session}", by="educator")
        states = {one["id"]: one["state"] for one in found["sign_ups"]}
        return states.get(ids[2]) == "offered" and states.get(ids[1]) != "offered"

    eventually(moved_on, within=30, why="the place goes to the next")


def test_verify_passes_over_places_of_partitions_that_are_no_more(house: House) -> None:
    """A bus was replaced by one with fewer partitions: what lay there lies elsewhere now."""
    house.quiet()
    gone = {"side": "in", "topic": "network.events", "partition": 99}
    store = sa.create_engine(f"sqlite:///{house.folder.stores / 'cards.db'}")
    with store.begin() as connection:
        values = {"record_offset": 65, "event_id": "of another bus", "stamp": 1, "era": 1}
        connection.execute(sa.insert(place).values(**gone, **values))
    try:
        done = house.command("verify")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        with store.begin() as connection:
            connection.execute(sa.delete(place).where(place.c.partition == gone["partition"]))
        store.dispose()
