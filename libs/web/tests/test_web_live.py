"""Live parts: who may listen, what is told, and that nothing holds up the stop."""

from __future__ import annotations

import asyncio

from runtime.testing import eventually_async
from web import Role, live
from web.live import Hub
from web.testing import Client, token


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


async def test_a_stream_tells_of_a_change_and_ends_at_the_stop(client: Client) -> None:
    """Over ASGI itself: httpx waits for the end of a body before it shows any of it."""
    client.sign_in(token(Role.TILL, centre="c1"))
    sent: asyncio.Queue[dict[str, object]] = asyncio.Queue()
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
    start = await sent.get()
    assert start["status"] == 200
    assert (await sent.get())["body"] == b"event: open\r\ndata: \r\nretry: 3000\r\n\r\n"
    form = (await client.page("/sample/new")).form("new")
    assert (await form.send(name="bread")).status_code == 303
    assert (await sent.get())["body"] == b"event: changed\r\ndata: \r\n\r\n"
    live.hub.close()
    await asyncio.wait_for(stream, 2)


async def test_a_listener_that_goes_is_forgotten() -> None:
    hub = Hub()
    messages = hub.listen("things.c1").messages()
    await anext(messages)
    assert hub.listeners == 1
    await messages.aclose()
    await eventually_async(lambda: hub.listeners == 0, why="the listener to be forgotten")
