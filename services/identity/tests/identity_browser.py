"""What people do in a browser at the pages of identity, in short words."""

from __future__ import annotations

import base64
from http.cookies import SimpleCookie
from typing import Any

import httpx
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.identity import Role
from messaging.tables import outbox
from web.testing import Client, PageSeen
from web.tokens import Claims, key_id_of, verify

from .identity_house import ANNA, PASSWORD, somebody

SIGN_IN = "/identity/sign-in"
ACCOUNTS = "/identity/accounts"
OWN = "/identity/account"


async def person(client: Client, email: str, *roles: Role, **more: str) -> str:
    return await client.run(lambda tx: somebody(tx, email, *roles, **more))


async def sign_in(client: Client, email: str = ANNA, password: str = PASSWORD) -> httpx.Response:
    page = await client.page(SIGN_IN)
    return await page.form("sign-in").send(email=email, password=password)


async def sign_in_elsewhere(client: Client, email: str, password: str = PASSWORD) -> httpx.Response:
    """A sign-in from another browser."""
    transport = httpx.ASGITransport(client.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as other:
        return await other.post(SIGN_IN, data={"email": email, "password": password})


async def page_of(client: Client, email: str, *roles: Role, **more: str) -> tuple[str, PageSeen]:
    """Somebody who has signed in, and their home."""
    account_id = await person(client, email, *roles, **more)
    return account_id, await client.follow(await sign_in(client, email))


def given_on(page: PageSeen) -> str:
    """The first password that staff read on this page."""
    return page.html.split('id="given">')[1].split("<")[0]


def cookies_of(answer: httpx.Response) -> SimpleCookie:
    found = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return found


async def claims(client: Client) -> Claims:
    """What the token in the browser's cookie says."""
    sent = client.http.cookies["token"]
    keys = (await client.get("/identity/.well-known/jwks.json")).json()["keys"]
    (key,) = (one for one in keys if one["kid"] == key_id_of(sent))
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))
    return verify(sent, public, client.clock.now())


async def told(client: Client, kind: Any) -> list[Any]:
    bodies = await client.read(
        lambda c: c.scalars(sa.select(outbox.c.body).where(outbox.c.type == kind.ce_type())).all()
    )
    return [kind.model_validate_json(body) for body in bodies]
