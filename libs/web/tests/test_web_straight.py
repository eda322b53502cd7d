"""The straight way to an endpoint answers as FastAPI's own does, whatever comes."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Header, Path
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, field_validator

from runtime.refusals import Refusal
from web import Role
from web.auth import TOKEN, allow
from web.call import Call
from web.straight import StraightRoute
from web.testing import Client, token

GOOD = b'{"name": "bread", "pieces": 2, "until": "2026-12-01T10:00:00+01:00"}'
JSON = {"Content-Type": "application/json", "X-Correlation-ID": "till-7.abc:def"}


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=2)
    pieces: int = Field(ge=1)
    until: datetime
    share: float = 1.0

    @field_validator("name")
    @classmethod
    def no_gold(cls, name: str) -> str:
        if name == "gold":
            raise ValueError("no gold")
        return name


class Kept(BaseModel):
    shelf: str
    order: Order
    by: str
    body: int


ByTill = Annotated[Call, Depends(allow(Role.TILL, scope="sample:write"))]
Shelf = Annotated[str, Path(pattern="^[a-z]{1,8}$")]


async def keep(shelf: Shelf, order: Order, call: ByTill) -> Kept:
    if order.name == "coal":
        raise Refusal("thing.too_dirty", "Coal is not kept.", "Keep something else.")
    sent = await call.request.body()
    return Kept(shelf=shelf, order=order, by=call.caller.account_id, body=len(sent))


async def how(order: Order, call: ByTill) -> bool:
    """Whether FastAPI calls it."""
    return any(frame.name == "run_endpoint_function" for frame in traceback.extract_stack())


async def asked(order: Order, call: ByTill, colour: Annotated[str, Header()] = "red") -> str:
    return colour


@pytest.fixture
async def both(client: Client) -> Client:
    """The same endpoints at /sample/api/straight and /sample/api/usual."""
    for name, kind in (("straight", StraightRoute), ("usual", APIRoute)):
        router = APIRouter(prefix=f"/sample/api/{name}", route_class=kind)
        router.add_api_route("/how", how, methods=["POST"])
        router.add_api_route("/asked", asked, methods=["POST"])
        router.add_api_route("/{shelf}", keep, methods=["POST"], status_code=201)
        client.app.router.routes[:0] = router.routes
    return client


async def answers(client: Client, path: str, **more: Any) -> list[tuple[int, Any, Any]]:
    """Of both ways: status, headers, body."""
    found = []
    for way in ("straight", "usual"):
        answer = await client.http.post(f"/sample/api/{way}/{path}", **more)
        body = answer.content.replace(f"/{way}/".encode(), b"/")
        found.append((answer.status_code, dict(answer.headers), body))
    return found


def bearer(*roles: Role, **more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(*roles, centre='c1', account='a1', **more)}"}


TILL = bearer(Role.TILL)


async def test_fastapi_is_not_asked_where_the_way_is_straight(both: Client) -> None:
    (_, _, straight), (_, _, usual) = await answers(both, "how", content=GOOD, headers=JSON | TILL)
    assert (straight, usual) == (b"false", b"true")


async def test_what_is_right_is_answered_the_same(both: Client) -> None:
    straight, usual = await answers(both, "bread", content=GOOD, headers=JSON | TILL)
    assert straight == usual
    assert straight[0] == 201


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"[1]",
        b'"bread"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": "b", "pieces": 0, "until": "never", "more": 1}',
        b'{"name": "gold", "pieces": "2", "until": "2026-12-01T10:00:00Z"}',
        b'{"name": "coal", "pieces": 2, "until": "2026-12-01T10:00:00Z"}',
        b'{"name": "bread", "pieces": 2, "until": "2026-12-01T10:00:00Z", "share": NaN}',
        b'{"name": "bread", "name": "oil", "pieces": 2.0, "until": 1764579600}',
        b'{"name": "' + b"x" * 1024 * 1024 + b'"}',
    ],
    ids=lambda content: repr(content[:60]),
)
@pytest.mark.parametrize("shelf", ["bread", "BREAD%20"])
async def test_what_is_wrong_is_refused_the_same(both: Client, content: bytes, shelf: str) -> None:
    straight, usual = await answers(both, shelf, content=content, headers=JSON | TILL)
    assert straight == usual


async def test_what_comes_in_pieces_is_taken_the_same(both: Client) -> None:
    for content in (GOOD, b"[]", b"{", b"x" * 1024 * 1024 + b"x"):
        found = []
        for way in ("straight", "usual"):
            answer = await both.http.post(
                f"/sample/api/{way}/bread", content=in_pieces(content), headers=JSON | TILL
            )
            found.append((answer.status_code, answer.json()))
        assert found[0] == found[1]


async def test_who_hangs_up_in_the_middle_is_taken_the_same(both: Client) -> None:
    """He hears nothing; what is written down of it must be no fault of ours."""
    told = []
    for way in ("straight", "usual"):
        left = [{"type": "http.request", "body": GOOD[:9], "more_body": True}]
        sent: list[Any] = []

        async def receive(left: list[Any] = left) -> Any:
            return left.pop() if left else {"type": "http.disconnect"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        headers = [(name.lower().encode(), value.encode()) for name, value in (JSON | TILL).items()]
        path = f"/sample/api/{way}/bread"
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
        scope |= {"headers": headers, "query_string": b"", "root_path": "", "scheme": "http"}
        await both.app(scope | {"server": ("test", 80), "client": ("test", 1)}, receive, send)
        told.append(sent[0]["status"])
    assert told == [400, 400]


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content[:5]
    yield content[5:]


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/merge-patch+json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
        "",
    ],
)
async def test_content_of_any_kind_is_taken_the_same(both: Client, kind: str) -> None:
    straight, usual = await answers(
        both, "bread", content=GOOD, headers=JSON | TILL | {"Content-Type": kind}
    )
    assert straight == usual


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer forged"}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        (bearer(Role.FAMILY), 403),
        (bearer(Role.TILL, scopes=["sample:read"]), 403),
        (bearer(Role.TILL, scopes=["sample:write"]), 201),
        ({"Cookie": f"{TOKEN}={token(Role.TILL, centre='c1')}"}, 403),
        (TILL | {"Sec-Fetch-Site": "cross-site"}, 201),
        ({"Cookie": f"{TOKEN}={token(Role.TILL)}", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_the_same_come_in_and_before_anything_is_said_of_what_they_sent(
    both: Client, who: dict[str, str], status: int
) -> None:
    straight, usual = await answers(both, "bread", content=GOOD, headers=JSON | who)
    assert straight == usual
    assert straight[0] == status
    if status != 201:
        assert await answers(both, "BREAD", content=b"[]", headers=JSON | who) == [usual] * 2


async def test_an_endpoint_that_takes_more_is_called_by_fastapi(both: Client) -> None:
    headers = JSON | TILL | {"Colour": "blue"}
    straight, usual = await answers(both, "asked", content=GOOD, headers=headers)
    assert straight == usual
    assert straight[2] == b'"blue"'
