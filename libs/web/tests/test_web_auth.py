"""Who may come in: by role, scope, centre; and when a token does not hold."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from messaging import tables
from runtime.clock import FixedClock
from runtime.testing import MONDAY, eventually_async
from web import Role
from web.testing import FAR_AWAY, LONG_AGO, Client, token
from web.tokens import public_text
from web.urls import local_path

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"another key: never yet published")
GOOD = {"name": "bread", "cents": 150}


@pytest.mark.parametrize(
    ("role", "status"),
    [(role, 201 if role is Role.TILL else 403) for role in Role],
)
async def test_only_the_roles_that_are_named_may(client: Client, role: Role, status: int) -> None:
    client.sign_in(token(role, centre="c1"))
    answer = await client.post("/sample/api/things", json=GOOD)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["reason"] == "auth.role"
        assert answer.json()["detail"] == "Your role does not allow this."


@pytest.mark.parametrize(
    ("scopes", "path", "reason"),
    [
        (["things:write"], "/sample/api/who", "auth.scope"),
        ([], "/sample/api/who", "auth.scope"),
        (["things:read"], "/sample/api/who", ""),
        (["things:read"], "/sample/things", "auth.scope"),
    ],
)
async def test_an_api_token_needs_the_scope_and_stays_out_where_none_is_named(
    client: Client, scopes: list[str], path: str, reason: str
) -> None:
    bearer = {"Authorization": f"Bearer {token(Role.TILL, centre='c1', scopes=scopes)}"}
    answer = await client.http.get(path, headers=bearer)
    assert answer.status_code == (403 if reason else 200)
    if reason and "/api/" in path:
        assert answer.json()["reason"] == reason


@pytest.mark.parametrize("role", [Role.TILL, Role.COORDINATOR])
async def test_staff_without_a_centre_have_nothing_here(client: Client, role: Role) -> None:
    client.sign_in(token(role, Role.TILL))
    answer = await client.post("/sample/api/things", json=GOOD)
    assert answer.status_code == 403
    assert answer.json()["detail"] == "Your account belongs to no centre."
    client.sign_in(token(Role.ADMINISTRATOR, Role.TILL))
    assert (await client.post("/sample/api/things", json=GOOD)).status_code == 201


async def test_the_caller_is_who_the_token_says(client: Client) -> None:
    client.sign_in(token(Role.FAMILY, account="a7", centre="c3"))
    assert (await client.get("/sample/api/who")).json() == {"account": "a7", "centre": "c3"}


async def test_nobody_is_asked_to_sign_in_by_the_api(client: Client) -> None:
    answer = await client.get("/sample/api/who")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["next_step"] == "Sign in and try again."


async def test_a_page_sends_to_identity_and_back(client: Client) -> None:
    answer = await client.get("/sample/things?q=a b")
    assert answer.status_code == 303
    to = urlsplit(answer.headers["location"])
    assert to.path == "/identity/renew"
    assert parse_qs(to.query) == {"next": ["/sample/things?q=a%20b"]}


async def test_a_form_that_was_being_sent_is_sent_again_after_the_renewal(client: Client) -> None:
    answer = await client.post("/sample/new", data={"name": "bread"})
    assert answer.status_code == 307  # keeps the method and the form
    assert answer.headers["location"] == "/identity/renew?next=%2Fsample%2Fnew"


async def test_an_expired_token_does_not_hold(client: Client, clock: FixedClock) -> None:
    client.sign_in(token(Role.TILL, expires=MONDAY + timedelta(minutes=10)))
    assert (await client.get("/sample/api/who")).status_code == 200
    clock.advance(timedelta(minutes=10))
    assert (await client.get("/sample/api/who")).status_code == 401
    assert (await client.get("/sample/things")).status_code == 303


async def test_a_token_that_held_before_does_not_hold_without_its_key(client: Client) -> None:
    client.sign_in(token(Role.TILL))
    assert (await client.get("/sample/api/who")).status_code == 200
    other = {"public_key": public_text(OTHER_KEY.public_key())}
    await client.store.write(lambda c: c.execute(sa.update(tables.auth_key).values(**other)))
    await client.parts.keys.refresh()
    assert (await client.get("/sample/api/who")).status_code == 401


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        "a.b.c",
        token(Role.TILL, key=OTHER_KEY),
        token(Role.TILL, key=OTHER_KEY, key_id="never-published"),
        token(Role.TILL)[:-4] + "AAAA",
        # alg "none" with the claims of an administrator
        "eyJhbGciOiJub25lIiwia2lkIjoidGVzdC1rZXkifQ"
        ".eyJzdWIiOiJhIiwic2lkIjoicyIsInJvbGVzIjpbImFkbWluaXN0cmF0b3IiXSwiZXhwIjo0MTAwMDAwMDAwfQ.",
    ],
    ids=["empty", "nonsense", "three parts", "other key", "unknown key", "damaged", "none"],
)
async def test_what_no_published_key_signed_does_not_hold(client: Client, bad: str) -> None:
    answer = await client.http.get("/sample/api/who", headers={"Authorization": f"Bearer {bad}"})
    assert answer.status_code == 401


async def test_a_key_holds_from_its_beginning_to_its_end(client: Client, clock: FixedClock) -> None:
    def publish(connection: sa.Connection) -> None:
        connection.execute(
            sa.insert(tables.auth_key).values(
                key_id="next",
                public_key=public_text(OTHER_KEY.public_key()),
                not_before=MONDAY + timedelta(hours=1),
                not_after=MONDAY + timedelta(hours=2),
            )
        )

    signed = token(Role.TILL, key=OTHER_KEY, key_id="next")
    bearer = {"Authorization": f"Bearer {signed}"}
    assert (await client.http.get("/sample/api/who", headers=bearer)).status_code == 401
    await client.store.write(publish)
    clock.advance(timedelta(minutes=90))  # the unknown key is looked for in the store
    assert (await client.http.get("/sample/api/who", headers=bearer)).status_code == 200
    clock.advance(timedelta(minutes=40))
    assert (await client.http.get("/sample/api/who", headers=bearer)).status_code == 401


async def test_a_key_that_has_not_arrived_does_not_send_the_browser_round_in_circles(
    client: Client,
) -> None:
    client.sign_in(token(Role.TILL, key=OTHER_KEY, key_id="not-here-yet"))
    first = await client.get("/sample/things")
    assert first.status_code == 303
    assert "renewing=1" in first.headers["set-cookie"]
    again = await client.get("/sample/things")  # identity renewed at once; the browser is back
    assert again.status_code == 503
    assert "cannot be checked" in again.text


async def test_a_revoked_session_is_refused_within_two_seconds(client: Client) -> None:
    client.sign_in(token(Role.TILL, session="s1"))
    assert (await client.get("/sample/api/who")).status_code == 200

    def revoke(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.auth_revoked).values(session_id="s1", until=FAR_AWAY))

    await client.store.write(revoke)

    async def refused() -> bool:
        return (await client.get("/sample/api/who")).status_code == 401

    await eventually_async(refused, within=2, why="the revocation")
    client.sign_in(token(Role.TILL, session="s2"))
    assert (await client.get("/sample/api/who")).status_code == 200


async def test_the_settled_batch_makes_the_ring_look_at_once(client: Client) -> None:
    def revoke(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.auth_revoked).values(session_id="s1", until=FAR_AWAY))

    client.sign_in(token(Role.TILL, session="s1"))
    await client.store.write(revoke)
    client.parts.keys.changed()

    async def refused() -> bool:
        return (await client.get("/sample/api/who")).status_code == 401

    await eventually_async(refused, within=0.5, why="the revocation")


@pytest.mark.parametrize(
    ("who", "centre", "status"),
    [
        (token(Role.TILL, centre="c1"), "c1", 200),
        (token(Role.TILL, centre="c1"), "c2", 403),
        (token(Role.COORDINATOR, centre="c1"), "c2", 403),
        (token(Role.ADMINISTRATOR, centre="c1"), "c2", 403),
        (token(Role.ADMINISTRATOR), "c2", 200),
        (token(Role.COORDINATOR), "c2", 403),
    ],
)
async def test_everybody_stays_in_their_centre(
    client: Client, who: str, centre: str, status: int
) -> None:
    client.sign_in(who)
    assert (await client.get(f"/sample/api/centres/{centre}")).status_code == status


async def test_a_public_page_knows_whoever_is_signed_in(client: Client) -> None:
    assert "Hello nobody" in await client.page("/sample/hello")
    client.sign_in(token(Role.FAMILY, account="a9"))
    assert "Hello a9" in await client.page("/sample/hello")
    client.sign_in(token(Role.FAMILY, account="a9", expires=LONG_AGO + timedelta(days=1)))
    assert "Hello nobody" in await client.page("/sample/hello")


@pytest.mark.parametrize(
    "away",
    [
        "https://elsewhere.example",
        "//elsewhere.example/x",
        "/\\elsewhere.example",
        "/a\\b",
        "javascript:alert(1)",
        "/a\nb",
        "x/y",
        "",
        "/" + "a" * 3000,
    ],
)
def test_nobody_is_led_out_of_the_house(away: str) -> None:
    assert local_path(away, "/identity/") == "/identity/"


def test_paths_of_the_house_are_kept() -> None:
    assert local_path("/cards/desk?q=a%20b&x=1#top") == "/cards/desk?q=a%20b&x=1#top"
