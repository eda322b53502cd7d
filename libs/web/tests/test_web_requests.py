"""Requests of programs: once is once, problems, limits, headers, paging, operations."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from messaging import restoring, tables
from runtime.clock import FixedClock
from runtime.store import Store
from web import Role, answers
from web.call import Call
from web.testing import Client, token

GOOD = {"name": "bread", "cents": 150}


@pytest.fixture
async def seller(client: Client) -> Client:
    return client.sign_in(token(Role.TILL, centre="c1", account="a1"))


async def things(client: Client) -> list[Any]:
    from web_sample.app import thing

    return list(await client.read(lambda c: c.execute(sa.select(thing)).all()))


async def test_a_command_knows_actor_centre_and_correlation(seller: Client) -> None:
    answer = await seller.post(
        "/sample/api/things", json=GOOD, headers={"X-Correlation-ID": "till-7.abc:def"}
    )
    assert answer.status_code == 201
    (kept,) = await things(seller)
    assert (kept.by, kept.centre, kept.correlation) == ("a1", "c1", "till-7.abc:def")
    assert answer.headers["x-correlation-id"] == "till-7.abc:def"


async def test_a_repeated_key_is_done_once_and_answered_the_same(seller: Client) -> None:
    key = {"Idempotency-Key": "sale-1"}
    first = await seller.post("/sample/api/things", json=GOOD, headers=key)
    again = await seller.post("/sample/api/things", json=GOOD, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert len(await things(seller)) == 1


async def test_what_the_end_of_the_service_cuts_off_is_asked_again_and_no_fault(
    seller: Client,
) -> None:
    at_work = asyncio.Event()

    async def never_ends() -> AsyncIterator[bytes]:
        yield b"{"
        at_work.set()
        await asyncio.Event().wait()

    asking = asyncio.create_task(seller.post("/sample/api/things", content=never_ends()))
    await at_work.wait()
    asking.cancel()
    answer = await asking
    assert answer.status_code == 503
    assert answer.json()["reason"] == "http.service_unavailable"


async def test_the_same_key_at_the_same_moment_is_done_once(tmp_path: Path, store_url: str) -> None:
    from web_sample.app import SERVICE

    async with Client(SERVICE, store_url) as client:
        client.sign_in(token(Role.TILL, centre="c1"))
        key = {"Idempotency-Key": "sale-1"}
        answers = await asyncio.gather(
            *(client.post("/sample/api/things", json=GOOD, headers=key) for _ in range(8))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(await things(client)) == 1


async def test_a_repeated_key_with_other_content_is_refused(seller: Client) -> None:
    key = {"Idempotency-Key": "sale-1"}
    await seller.post("/sample/api/things", json=GOOD, headers=key)
    other = await seller.post("/sample/api/things", json={**GOOD, "cents": 151}, headers=key)
    assert other.status_code == 422
    assert other.json()["reason"] == "idempotency.other_content"
    assert len(await things(seller)) == 1


async def test_what_is_asked_behind_the_path_is_content_as_well(seller: Client) -> None:
    """There stands for which centre something is."""
    key = {"Idempotency-Key": "sale-1"}
    first = await seller.post("/sample/api/things?centre_id=c1", json=GOOD, headers=key)
    again = await seller.post("/sample/api/things?centre_id=c1", json=GOOD, headers=key)
    assert first.json() == again.json()
    other = await seller.post("/sample/api/things?centre_id=c2", json=GOOD, headers=key)
    assert other.json()["reason"] == "idempotency.other_content"


async def test_the_key_belongs_to_the_account(seller: Client) -> None:
    key = {"Idempotency-Key": "sale-1"}
    await seller.post("/sample/api/things", json=GOOD, headers=key)
    seller.sign_in(token(Role.TILL, centre="c1", account="a2"))
    await seller.post("/sample/api/things", json={**GOOD, "cents": 1}, headers=key)
    assert len(await things(seller)) == 2


async def test_two_commands_of_one_request_are_each_done_once(seller: Client) -> None:
    key = {"Idempotency-Key": "pair"}
    first = await seller.post("/sample/api/two-things", headers=key)
    again = await seller.post("/sample/api/two-things", headers=key)
    assert first.json() == again.json()
    assert [kept.name for kept in await things(seller)] == ["first", "second"]


async def test_a_refused_command_keeps_neither_effect_nor_answer(seller: Client) -> None:
    key = {"Idempotency-Key": "sale-1"}
    refused = await seller.post("/sample/api/things", json={**GOOD, "name": "gold"}, headers=key)
    assert refused.status_code == 409
    after = await seller.post("/sample/api/things", json=GOOD, headers=key)
    assert after.status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a" * 191, "à", "a\tb"])
async def test_a_malformed_key_is_refused(seller: Client, key: str) -> None:
    answer = await seller.post(
        "/sample/api/things", json=GOOD, headers={"Idempotency-Key": key.encode()}
    )
    assert answer.status_code == 422
    assert answer.json()["reason"] == "idempotency.key"


async def test_answers_are_forgotten_after_seven_days(seller: Client, clock: FixedClock) -> None:
    await seller.post("/sample/api/things", json=GOOD, headers={"Idempotency-Key": "sale-1"})
    count = sa.select(sa.func.count()).select_from(tables.idempotency)
    for days, left in ((7, 1), (8, 0)):
        now = clock.now() + timedelta(days=days)
        await seller.store.write(partial(answers.forget, now=now))
        assert await seller.read(lambda c: c.scalar(count)) == left


async def test_a_refusal_is_a_problem_in_the_readers_language(seller: Client) -> None:
    gold = {**GOOD, "name": "gold"}
    answer = await seller.post(
        "/sample/api/things", json=gold, headers={"Accept-Language": "de, it-IT;q=0.8, en;q=0.5"}
    )
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-language"] == "it"
    assert answer.json() == {
        "type": "urn:vicinato:problem:thing.too_dear",
        "title": "Questo adesso non si può fare",
        "status": 409,
        "detail": "gold è troppo caro per noi.",
        "reason": "thing.too_dear",
        "next_step": "Prendi qualcos'altro.",
        "errors": [
            {
                "field": "name",
                "reason": "thing.too_dear",
                "sentence": "gold è troppo caro per noi.",
            }
        ],
        "correlation": answer.headers["x-correlation-id"],
    }


async def test_input_that_is_not_valid_is_named_field_by_field(seller: Client) -> None:
    answer = await seller.post("/sample/api/things", json={"name": "b", "cents": "many"})
    assert answer.status_code == 422
    assert answer.json()["reason"] == "input.invalid"
    assert answer.json()["errors"] == [
        {
            "field": "name",
            "reason": "string_too_short",
            "sentence": "Write at least 2 characters.",
        },
        {"field": "cents", "reason": "int_parsing", "sentence": "Write a whole number."},
    ]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[]", b"null", b""])
async def test_bodies_that_are_no_such_thing_are_problems(seller: Client, body: bytes) -> None:
    answer = await seller.post(
        "/sample/api/things", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/sample/api/nothing", 404), ("DELETE", "/sample/api/things", 405)],
)
async def test_addresses_that_are_not_there_are_problems(
    seller: Client, method: str, path: str, status: int
) -> None:
    answer = await seller.request(method, path)
    assert answer.status_code == status
    assert answer.json()["status"] == status


async def test_a_store_that_is_away_says_that_nothing_was_saved(seller: Client) -> None:
    answer = await seller.post("/sample/api/locked")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["reason"] == "store.away"
    assert "Nothing was saved" in answer.json()["detail"]


async def test_a_mistake_of_ours_shows_a_number_and_nothing_else(
    seller: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await seller.post("/sample/api/broken")
    assert answer.status_code == 500
    assert "Maria" not in answer.text
    assert answer.headers["x-correlation-id"] in answer.json()["next_step"]
    assert "content-security-policy" in answer.headers


async def test_the_log_says_who_asked_and_what_came_of_it(client: Client) -> None:
    client.sign_in(token(Role.FAMILY, account="a7", centre="c1"))
    with capture_logs() as lines:
        await client.post("/sample/api/things", json={"name": "bread", "cents": 150})
        await client.http.get("/sample/api/who", headers={"Authorization": "Bearer forged"})
    told = [(line["actor"], line["status"]) for line in lines if line["event"] == "web.request"]
    assert told == [("a7", 403), ("", 401)]


async def test_a_request_leaves_nothing_to_the_garbage_collector(seller: Client) -> None:
    gc.collect()
    gc.disable()
    try:
        await seller.post("/sample/api/things", json=GOOD)
        left = [found for found in gc.get_objects() if type(found) is Call]
    finally:
        gc.enable()
    assert left == []


async def test_a_body_over_a_megabyte_is_refused_announced_or_not(seller: Client) -> None:
    large = b'{"name": "' + b"x" * 1024 * 1024 + b'"}'

    async def unannounced() -> Any:
        yield large

    for content in (large, unannounced()):
        answer = await seller.post(
            "/sample/api/things", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.json()["detail"] == "More was sent than is taken at once."


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"X-Correlation-ID": "0123456789abcdef"}, "0123456789abcdef"),
        (
            {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        ({"X-Correlation-ID": "<script>alert(1)</script>"}, None),
        ({"X-Correlation-ID": "a" * 65}, None),
        ({"traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"}, None),
        ({}, None),
    ],
)
async def test_a_well_formed_correlation_is_taken_and_another_made(
    client: Client, given: dict[str, str], kept: str | None
) -> None:
    found = (await client.get("/livez", headers=given)).headers["x-correlation-id"]
    if kept is not None:
        assert found == kept
    else:
        assert re.fullmatch(r"[0-9a-f-]{36}", found)


async def test_safe_headers_are_on_everything(client: Client) -> None:
    for path in ("/sample/hello", "/sample/api/who", "/nothing", "/static/vicinato.css"):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "strict-transport-security" not in headers
        assert ("no-store" in headers.get("cache-control", "")) == ("/static/" not in path)


async def test_over_https_cookies_are_the_hosts_and_transport_is_strict(tmp_path: Path) -> None:
    from web_sample.app import SERVICE

    url = f"sqlite:///{tmp_path / 'https.db'}"
    async with Client(SERVICE, url, settings={"public_url": "https://casa.example"}) as client:
        client.sign_in(token(Role.TILL, centre="c1"))
        answer = await client.get("/sample/things")
        assert answer.status_code == 200
        assert "max-age" in answer.headers["strict-transport-security"]
        assert "__Host-token" in dict(client.http.cookies)


async def test_a_value_that_postgresql_cannot_keep_is_refused(store_url: str) -> None:
    from web_sample.app import SERVICE

    async with Client(SERVICE, store_url) as client:
        client.sign_in(token(Role.TILL, centre="c1"))
        answer = await client.post("/sample/api/things", json={"name": "a\0b", "cents": 1})
        assert answer.status_code == (201 if client.store.dialect == "sqlite" else 422)
        answer = await client.post(
            "/sample/api/things",
            content=b'{"name": "\\ud800x", "cents": 1}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422


async def test_lists_come_in_parts_that_new_rows_do_not_shift(seller: Client) -> None:
    for cents in (3, 1, 2, 2, 5):
        await seller.post("/sample/api/things", json={"name": f"thing {cents}", "cents": cents})
    first = (await seller.get("/sample/api/things?limit=2")).json()
    assert [item["cents"] for item in first["items"]] == [1, 2]
    await seller.post("/sample/api/things", json={"name": "thing 0", "cents": 0})
    second = (await seller.get(f"/sample/api/things?limit=2&after={first['next']}")).json()
    assert [item["cents"] for item in second["items"]] == [2, 3]
    third = (await seller.get(f"/sample/api/things?limit=2&after={second['next']}")).json()
    assert [item["cents"] for item in third["items"]] == [5]
    assert third["next"] is None


async def test_the_latest_first_in_parts_on_both_engines(store_url: str, clock: FixedClock) -> None:
    from web_sample.app import SERVICE

    async with Client(SERVICE, store_url, clock=clock) as client:
        client.sign_in(token(Role.TILL, centre="c1"))
        for number in range(5):
            await client.post("/sample/api/things", json={"name": f"n{number}", "cents": 1})
            clock.advance(timedelta(seconds=number % 2))
        seen: list[str] = []
        after = ""
        while True:
            path = f"/sample/api/things/latest?limit=2&after={after}"
            page = (await client.get(path)).json()
            seen += page["items"]
            after = page["next"] or ""
            if not after:
                break
        assert seen == ["n4", "n3", "n2", "n1", "n0"]


@pytest.mark.parametrize(
    "query", ["after=nonsense", "after=WyJhIl0", "after=WzEsMl0", "limit=0", "limit=201"]
)
async def test_a_place_that_is_not_known_is_refused(seller: Client, query: str) -> None:
    answer = await seller.get(f"/sample/api/things?{query}")
    assert answer.status_code == 422


async def test_operations_answer_at_the_root_and_under_the_prefix(client: Client) -> None:
    for base in ("", "/sample"):
        assert (await client.get(f"{base}/livez")).json()["status"] == "ok"
        assert (await client.get(f"{base}/readyz")).json()["status"] == "ok"
        assert (await client.get(f"{base}/asyncapi.json")).json()["asyncapi"].startswith("3.")
        assert "/sample/api/things" in (await client.get(f"{base}/openapi.json")).json()["paths"]
    figures = (await client.get("/metrics")).text
    assert "vicinato_outbox_unsent" in figures
    assert re.search(r"^vicinato_disk_free_bytes \d", figures, re.MULTILINE)
    assert (await client.get("/sample/metrics")).status_code == 404


async def test_the_document_holds_endpoints_problems_and_the_key_but_no_pages(
    client: Client,
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert all(path.startswith("/sample/api/") for path in document["paths"])
    post = document["paths"]["/sample/api/things"]["post"]
    assert "Idempotency-Key" in [parameter["name"] for parameter in post["parameters"]]
    assert "application/problem+json" in post["responses"]["default"]["content"]
    assert "HTTPValidationError" not in str(document)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


async def test_not_ready_without_a_store(client: Client) -> None:
    await client.store.close()
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert (await client.get("/livez")).status_code == 200
    assert isinstance(client.store, Store)


SAID = {
    "it": "Si sta rimettendo una copia di sicurezza",
    "en": "A backup is being put back",
    "ar": "تجري استعادة نسخة احتياطية",
    "es": "Se está restaurando una copia de seguridad",
    "fr": "Une sauvegarde est en cours de restauration",
}


async def test_a_store_that_comes_from_a_backup_answers_nobody(
    tmp_path: Path, clock: FixedClock
) -> None:
    from web_sample.app import SERVICE

    url = f"sqlite:///{tmp_path / 'sample.db'}"
    async with Client(SERVICE, url, clock=clock):
        pass
    store = Store(url)
    mark = restoring.Restoring("a-backup", clock.now(), 0)
    await store.write(lambda c: restoring.mark(c, mark))
    await store.close()
    async with Client(SERVICE, url, clock=clock) as client:
        client.sign_in(token(Role.TILL, centre="c1"))
        refused = await client.post("/sample/api/things", json=GOOD)
        assert refused.status_code == 503
        assert refused.json()["reason"] == "service.restoring"
        assert refused.headers["retry-after"]
        assert not await things(client)
        for language, words in SAID.items():
            page = await client.get("/sample/things", params={"lang": language})
            assert page.status_code == 503
            assert words in page.text
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
