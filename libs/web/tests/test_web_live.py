"""Live parts: who may listen, what is told, and that nothing holds up the stop."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from messaging import tables
from runtime.clock import FixedClock
from runtime.testing import eventually_async
from web import Role, live
from web.live import Hub
from web.testing import FAR_AWAY, LONG_AGO, Client, token


async def test_listening_needs_a_sign_in_a_known_channel_and_the_right(client: Client) -> None:
    assert (await client.get("/sample/live/things.c1")).status_code == 401
    client.sign_in(token(Role.TILL, centre="c1"))
    assert (await client.get("/sample/live/things.c2")).status_code == 403
    assert (await client.get("/sample/live/others.c1")).status_code == 404
    assert (await client.get("/sample/live/things")).status_code == 404


async def test_a_page_names_its_live_part(client: Client) -> None:
    client.sign_in(token(Role.TILL, centre="c1"))
    assert 'id="things" data-live="things.c1"' in (await client.page("/sample/things")).html


async def test_several_changes_in_a_moment_are_told_once() -> None:
    hub = Hub()
    messages = hub.listen("things.c1").messages()
    assert (await anext(messages)).event == "open"
    hub.publish("things", "c2")
    for _ in range(3):
        await asyncio.to_thread(hub.publish, "things", "c1")  # as from the store's thread
    assert (await anext(messages)).event == "changed"
    waiting = asyncio.ensure_future(anext(messages))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    hub.publish("things", "c1")
    assert (await waiting).event == "changed"


Sent = asyncio.Queue[dict[str, object]]

OPENED = b"event: open\r\ndata: \r\nretry: 3000\r\n\r\n"
CHANGED = b"event: changed\r\ndata: \r\n\r\n"


async def listening(client: Client) -> tuple[asyncio.Future[None], Sent]:
    """A stream that has opened for whoever is signed in, and what it sends from then on. Over ASGI
    itself: httpx waits for the end of a body before it shows any of it."""
    sent: Sent = asyncio.Queue()
    cookie = f"token={client.http.cookies['token']}".encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/sample/live/things.c1",
        "raw_path": b"/sample/live/things.c1",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie)],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "state": {},
    }

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        await sent.put(message)

    stream = asyncio.ensure_future(client.app(scope, receive, send))
    assert (await sent.get())["status"] == 200
    assert (await sent.get())["body"] == OPENED
    return stream, sent


async def test_a_stream_tells_of_a_change_and_ends_at_the_stop(client: Client) -> None:
    client.sign_in(token(Role.TILL, centre="c1"))
    stream, sent = await listening(client)
    form = (await client.page("/sample/new")).form("new")
    assert (await form.send(name="bread")).status_code == 303
    assert (await sent.get())["body"] == CHANGED
    live.hub.close()
    await asyncio.wait_for(stream, 2)


@pytest.mark.parametrize("until", [FAR_AWAY, LONG_AGO], ids=["token-holds", "token-ended-before"])
async def test_a_stream_ends_with_its_session_and_others_go_on(
    client: Client, until: datetime
) -> None:
    """A revocation holds until the last token of its session ends, and a stream outlives these."""
    client.sign_in(token(Role.TILL, centre="c1", session="s1"))
    ended, _ = await listening(client)
    client.sign_in(token(Role.TILL, centre="c1", session="s2"))
    other, sent = await listening(client)

    def revoke(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.auth_revoked).values(session_id="s1", until=until))

    await client.store.write(revoke)
    client.parts.keys.changed()
    await asyncio.wait_for(ended, 2)
    live.publish("things", "c1")
    assert (await sent.get())["body"] == CHANGED
    live.hub.close()
    await asyncio.wait_for(other, 2)


async def test_a_stream_ends_when_nobody_came_back_to_its_session(
    client: Client, clock: FixedClock
) -> None:
    over = clock.now() + timedelta(hours=4)
    client.sign_in(token(Role.TILL, centre="c1", session="s1", over=over))
    ended, _ = await listening(client)
    client.sign_in(token(Role.TILL, centre="c1", session="s2", over=over + timedelta(hours=1)))
    other, sent = await listening(client)
    clock.set(over)
    client.parts.keys.changed()
    await asyncio.wait_for(ended, 2)
    live.publish("things", "c1")
    assert (await sent.get())["body"] == CHANGED
    live.hub.close()
    await asyncio.wait_for(other, 2)


async def test_a_listener_that_goes_is_forgotten() -> None:
    hub = Hub()
    messages = hub.listen("things.c1").messages()
    await anext(messages)
    assert hub.listeners == 1
    await messages.aclose()
    await eventually_async(lambda: hub.listeners == 0, why="the listener to be forgotten")
