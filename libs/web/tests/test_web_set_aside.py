"""Events set aside: seen by those who lead, sent again, discarded with a reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import schemas
from contracts.cards import CardIssued
from messaging import Record, aside, tables
from messaging.envelope import body_of, decode, headers_for, wire_headers
from runtime.clock import FixedClock
from web import Role
from web.testing import Client, token


@pytest.fixture
async def lead(client: Client, clock: FixedClock) -> Client:
    def put(connection: sa.Connection) -> None:
        for number in range(3):
            connection.execute(
                sa.insert(tables.set_aside).values(
                    event_id=f"event/{number}",
                    topic="cards.events",
                    partition=0,
                    record_offset=number,
                    key="k",
                    type="cards.card.issued.v9",
                    previous=None,
                    state="dead",
                    reason="newer version",
                    tries=1,
                    next_try=None,
                    headers=[["ce_id", "ZXZlbnQ="], ["centre", "YzE="]],
                    record_key=b"k",
                    body=b'{"who": "<b>Maria</b>"}',
                    stamp=0,
                    at=clock.now() + timedelta(seconds=number),
                )
            )

    await client.store.write(put)
    return client.sign_in(token(Role.COORDINATOR, centre="c1"))


@pytest.mark.parametrize("role", [Role.TILL, Role.RECEPTION, Role.FAMILY, Role.CASE_WORKER])
async def test_only_those_who_lead_see_them(client: Client, role: Role) -> None:
    client.sign_in(token(role, centre="c1"))
    assert (await client.get("/sample/set-aside")).status_code == 403
    assert (await client.get("/sample/api/set-aside")).status_code == 403
    assert (await client.get("/sample/api/set-aside/event%2F0")).status_code == 403


async def test_the_list_comes_in_parts_the_latest_first(lead: Client) -> None:
    first = (await lead.get("/sample/api/set-aside?limit=2")).json()
    assert [item["event_id"] for item in first["items"]] == ["event/2", "event/1"]
    assert "body" not in first["items"][0]
    rest = (await lead.get(f"/sample/api/set-aside?limit=2&after={first['next']}")).json()
    assert [item["event_id"] for item in rest["items"]] == ["event/0"]
    none = (await lead.get("/sample/api/set-aside?state=waiting")).json()
    assert none == {"items": [], "next": None}
    assert (await lead.get("/sample/api/set-aside?state=other")).status_code == 422


async def test_one_is_shown_whole(lead: Client) -> None:
    whole = (await lead.get("/sample/api/set-aside/event%2F1")).json()
    assert whole["headers"] == [["ce_id", "event"], ["centre", "c1"]]
    assert whole["body"] == '{"who": "<b>Maria</b>"}'
    assert (await lead.get("/sample/api/set-aside/none")).status_code == 404


async def test_what_it_says_is_for_those_of_its_centre_and_for_the_foundation(
    lead: Client, readable: str
) -> None:
    lead.sign_in(token(Role.COORDINATOR, centre="c2"))
    for method, path in (
        ("GET", f"api/set-aside/{readable}"),
        ("POST", f"api/set-aside/{readable}/send-again"),
        ("POST", f"api/set-aside/{readable}/discard"),
        ("GET", f"set-aside/{readable}"),
    ):
        answer = await lead.request(method, f"/sample/{path}", json={"reason": "not mine"})
        assert answer.status_code == 404, path
        assert "card_id" not in answer.text
    page = await lead.page("/sample/set-aside")
    assert "cards.card.issued" in page
    lead.sign_in(token(Role.ADMINISTRATOR))
    assert (await lead.get(f"/sample/api/set-aside/{readable}")).json()["state"] == "dead"


async def test_the_page_shows_and_escapes(lead: Client) -> None:
    page = await lead.page("/sample/set-aside")
    assert page.text.count("needs a decision") == 5  # three rows, the tab, the introduction
    page = await page.follow("cards.card.issued.v9")
    assert "newer version" in page
    assert "<b>Maria" not in page.html


async def test_discarding_needs_a_reason(lead: Client) -> None:
    page = await lead.page("/sample/set-aside/event%2F0")
    page = await page.form("discard").submit(status=422, reason=" ")
    assert "Fill in this field." in page
    page = await page.form("discard").submit(reason="sent by a test")
    assert "discarded" in page
    row: Any = await lead.read(
        lambda c: c.execute(
            sa.select(tables.set_aside).where(tables.set_aside.c.event_id == "event/0")
        ).one()
    )
    assert row.state == "discarded"
    assert "sent by a test" in row.reason


async def test_what_cannot_be_taken_again_says_why_and_stays(lead: Client) -> None:
    answer = await lead.post("/sample/api/set-aside/event%2F0/send-again")
    assert answer.status_code == 409
    assert answer.json()["reason"] == "set_aside.failed_again"
    page = await lead.page("/sample/set-aside/event%2F0")
    page = await page.form("send-again").submit(status=409)
    assert "could not be taken this time either" in page


@pytest.fixture
async def readable(lead: Client, clock: FixedClock) -> str:
    """An event that was dead and that this build can take now; its id."""
    event = schemas.example(CardIssued)
    headers = headers_for(
        event, event_id="late", source="/cards", time=clock.now(), correlation="c", centre="c1"
    )
    record = Record(
        topic=event.TOPIC,
        partition=0,
        offset=9,
        stamp=0,
        key=event.key.encode(),
        value=body_of(event),
        headers=wire_headers(headers, previous=None, cause=None, era=0),
    )
    await lead.store.write(
        lambda c: aside.put(
            c, decode(record), "dead", "was wrong", tries=3, next_try=None, at=clock.now()
        )
    )
    return "late"


async def test_what_is_taken_again_is_told_and_goes(lead: Client, readable: str) -> None:
    answer = await lead.post(f"/sample/api/set-aside/{readable}/send-again")
    assert answer.status_code == 202
    assert (answer.json()["event_id"], answer.json()["state"]) == (readable, "settled")
    assert (await lead.get(f"/sample/api/set-aside/{readable}")).status_code == 404


async def test_what_is_taken_again_leads_back_to_the_list(lead: Client, readable: str) -> None:
    page = await lead.page(f"/sample/set-aside/{readable}")
    page = await page.form("send-again").submit()
    assert "Events set aside" in page
    assert "was wrong" not in page


async def test_what_was_discarded_is_not_sent_again(lead: Client, readable: str) -> None:
    path = f"/sample/api/set-aside/{readable}"
    await lead.post(f"{path}/discard", json={"reason": "by a test"})
    answer = await lead.post(f"{path}/send-again")
    assert answer.status_code == 409
    assert answer.json()["reason"] == "set_aside.discarded"
