"""What answers say to browsers, and what they never say."""

from __future__ import annotations

import re

import pytest

from web.roles import Role
from web.testing import Client, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALLOWED_SECRETS = {"token", "token_type", "password_chosen", "password_until"}


async def test_no_other_origin_may_read_anything(client: Client) -> None:
    prefix = client.service.prefix
    asking = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for signed in ("", token(*Role, centre="c1", household="h1")):
        client.sign_in(signed)
        for path in (
            f"{prefix}/api/clock",
            f"{prefix}/openapi.json",
            f"{prefix}/machine",
            "/nothing",
        ):
            for method in ("OPTIONS", "GET"):
                answer = await client.http.request(method, path, headers=asking)
                told = {name for name in answer.headers if name.startswith("access-control-")}
                assert not told, (method, path)
                assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_no_trace_and_no_debug(client: Client) -> None:
    for method in ("TRACE", "TRACK", "DEBUG", "CONNECT", "PROPFIND"):
        answer = await client.http.request(method, f"{client.service.prefix}/machine")
        assert answer.status_code in (404, 405), method
    assert client.app.debug is False


async def test_no_folder_is_listed_and_no_file_of_the_source_is_served(client: Client) -> None:
    for path in (
        "/static/",
        "/static/..%2fapp.py",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/.git/config",
        "/.env",
        "/static//etc/passwd",
    ):
        answer = await client.http.get(path)
        assert answer.status_code in (404, 405), path
        assert "import" not in answer.text


async def test_no_answer_of_the_api_holds_a_password_or_its_hash(client: Client) -> None:
    """By the documents: a token and the words on a card are shown once, to whom they are given."""
    schemas = client.app.openapi()["components"]["schemas"]
    asked = _named(client.app.openapi()["paths"], "requestBody")
    for name, schema in schemas.items():
        if name in asked:
            continue
        for field in schema.get("properties", {}):
            secret = re.search(r"password|hash|secret|digest|token|private", field)
            assert not secret or field in ALLOWED_SECRETS, f"{name}.{field}"


async def test_no_model_takes_what_it_does_not_name(client: Client) -> None:
    """Unknown fields are refused or dropped, never kept: no role or centre comes in by the side."""
    document = client.app.openapi()
    schemas = document["components"]["schemas"]
    for name in _named(document["paths"], "requestBody"):
        schema = schemas[name]
        if "properties" in schema:
            assert schema.get("additionalProperties", False) is False, name


def _named(paths: object, part: str) -> set[str]:
    """The models that stand in this part of the operations."""
    found: set[str] = set()
    for item in paths.values():  # type: ignore[attr-defined]
        for operation in item.values():
            found |= set(re.findall(r"schemas/(\w+)", str(operation.get(part, ""))))
    return found
