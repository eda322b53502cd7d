"""For tests of a service: the built application with its real store, without Kafka.

::

    async with Client(SERVICE, store_url, clock=clock) as client:
        client.sign_in(token(Role.RECEPTION, centre="c1"))
        made = await client.post("/cards/api/households", json={...})
        page = await client.page("/cards/desk")
        page = await page.form("find").submit(q="Rossi")

Pages are used as a browser without JavaScript would: forms are read from the HTML with their hidden
fields, filled and sent, and redirects are followed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from contracts.identity import KeyPublished
from messaging import Service, Transaction, tables
from runtime.clock import Clock, SystemClock
from runtime.ids import Ids
from runtime.settings import Settings
from runtime.store import Store, upsert
from runtime.testing import furnish
from web.app import build
from web.auth import TOKEN
from web.parts import Parts
from web.roles import Role
from web.tokens import Claims, mint, public_text

T = TypeVar("T")

KEY_ID = "test-key"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(b"a key for tests and only for tes")
ORIGIN = "http://testserver"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FAR_AWAY = datetime(2100, 1, 1, tzinfo=UTC)


def token(
    *roles: Role,
    centre: str = "",
    account: str = "account-1",
    session: str = "",
    scopes: Iterable[str] | None = None,
    household: str = "",
    organisation: str = "",
    producer: str = "",
    language: str = "",
    zone: str = "",
    foundation: bool = False,
    expires: datetime = FAR_AWAY,
    over: datetime | None = None,
    key: Ed25519PrivateKey = PRIVATE_KEY,
    key_id: str = KEY_ID,
) -> str:
    """A signed token. With ``scopes`` it is an API token, else a browser's. It does not expire."""
    claims = Claims(
        sub=account,
        sid=session or f"session-of-{account}",
        roles=roles,
        centre=centre,
        scopes=None if scopes is None else tuple(scopes),
        household=household,
        organisation=organisation,
        producer=producer,
        lang=language,
        zone=zone,
        foundation=foundation,
        typ="browser" if scopes is None else "api",
        over=over,
        iat=LONG_AGO,
        exp=expires,
    )
    return mint(key, key_id, claims)


def published_key() -> KeyPublished:
    """What a house would hear about the key of ``token``."""
    return KeyPublished(
        key_id=KEY_ID,
        public_key=public_text(PRIVATE_KEY.public_key()),
        not_before=LONG_AGO,
        not_after=FAR_AWAY,
    )


def publish_key(connection: sa.Connection) -> None:
    """Make the store believe tokens of ``token``."""
    row = published_key().model_dump(exclude={"algorithm"})
    upsert(connection, tables.auth_key, [row], key=("key_id",))


class Client:
    """A browser or a program at the application of one service, in this process.

    The service's own clock and ids are those passed in. Requests under ``/api/`` carry the token as
    Bearer, all others as a cookie. Redirects are not followed, except by ``page`` and ``submit``.
    """

    def __init__(
        self,
        service: Service,
        store_url: str,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        language: str = "en",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.service = service
        self.clock = clock or SystemClock()
        self.settings: Settings = service.settings(
            **{
                "service": service.name,
                "database_url": store_url,
                "public_url": ORIGIN,
                **(settings or {}),
            }
        )
        self.store = Store(store_url)
        self._replaced: dict[str, Any] = {"clock": self.clock, "ids": ids}
        self._token = ""
        self._language = language
        self._stack = contextlib.AsyncExitStack()
        self.app: FastAPI
        self.http: httpx.AsyncClient

    async def __aenter__(self) -> Client:
        self._stack.push_async_callback(self.store.close)
        await self.store.write(self._prepare)
        self.app = build(self.service, self.settings, store=self.store, bus=False, **self._replaced)
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        self.http = await self._stack.enter_async_context(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app),
                base_url=self.settings.public_url,
                headers={"Accept-Language": self._language},
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _prepare(self, connection: sa.Connection) -> None:
        furnish(connection, self.service.metadata)
        publish_key(connection)

    @property
    def parts(self) -> Parts:
        """What the running application is made of."""
        parts: Parts = self.app.state.parts
        return parts

    def sign_in(self, token: str) -> Client:
        """Use this token from now on; "" for nobody."""
        self._token = token
        name = self.parts.cookie(TOKEN)
        self.http.cookies.pop(name, None)
        if token:
            self.http.cookies.set(name, token)
        return self

    async def run(self, fn: Callable[[Transaction], T], **who: str) -> T:
        """A command straight in the application's engine, past HTTP: to prepare a test."""
        return await self.parts.engine.transact(
            fn,
            actor=who.get("actor", "test"),
            centre=who.get("centre", ""),
            correlation=who.get("correlation", ""),
        )

    async def read(self, fn: Callable[[sa.Connection], T]) -> T:
        return await self.store.read(fn)

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", None) or {})
        if self._token and "/api/" in path:
            headers.setdefault("Authorization", f"Bearer {self._token}")
        return await self.http.request(method, path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("POST", path, **more)

    async def put(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("PUT", path, **more)

    async def patch(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("PATCH", path, **more)

    async def delete(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("DELETE", path, **more)

    async def page(self, path: str, *, status: int | None = 200) -> PageSeen:
        """GET a page, following redirects inside the service; the status is asserted."""
        return await self.follow(await self.get(path), status=status)

    async def follow(self, response: httpx.Response, *, status: int | None = 200) -> PageSeen:
        """The page that a response leads to; a way out of the service stays as it is."""
        for _ in range(10):
            target = response.headers.get("location", "")
            path = urlsplit(target).path
            if response.status_code != 303 or not path.startswith(self.service.prefix):
                break
            response = await self.get(urljoin(str(response.url), target))
        seen = PageSeen(self, response)
        if status is not None:
            assert response.status_code == status, (
                f"{response.request.method} {response.url.path} gave {response.status_code} "
                f"instead of {status}: {seen.text[:600]}"
            )
        return seen


class PageSeen:
    """A page as a reader without JavaScript gets it."""

    def __init__(self, client: Client, response: httpx.Response) -> None:
        self._client = client
        self.response = response
        self.status = response.status_code
        self.html = response.text
        self.path = response.url.path
        reader = _Reader()
        reader.feed(self.html)
        self.text = " ".join(" ".join(reader.text).split())
        self.forms = [FormSeen(self, seen) for seen in reader.forms]
        self.links = reader.links
        self.language = reader.root.get("lang", "")
        self.direction = reader.root.get("dir", "")

    @property
    def client(self) -> Client:
        return self._client

    def __contains__(self, text: str) -> bool:
        """Whether the page shows this text."""
        return text in self.text

    def form(self, wanted: str = "") -> FormSeen:
        """The form whose id, name or action (or the end of it) is ``wanted``; "" the only one.

        Forms of the house's frame (language, light, sign-out) count only when they are named.
        """
        frame = ("/language", "/wishes", "/sign-out")
        own = [f for f in self.forms if f.method != "DIALOG" and not f.action.endswith(frame)]
        for one in self.forms if wanted else own:
            if wanted in ("", one.id, one.name) or urlsplit(one.action).path.endswith(wanted):
                return one
        found = [f.id or f.name or f.action for f in self.forms]
        raise AssertionError(f"no form {wanted!r} on {self.path}; there are {found}")

    async def follow(self, text: str, *, status: int | None = 200) -> PageSeen:
        """Go to the link with this text (or a part of it)."""
        for shown, href in self.links:
            if text in shown:
                return await self._client.page(urljoin(self.path, href), status=status)
        raise AssertionError(f"no link {text!r} on {self.path}; there are {self.links}")


@dataclass
class _Input:
    name: str
    value: str
    kind: str
    checked: bool = True
    options: list[str] = field(default_factory=list)


@dataclass
class _FormRead:
    attributes: dict[str, str]
    inputs: list[_Input] = field(default_factory=list)


class FormSeen:
    """A form of a page, ready to be filled."""

    def __init__(self, page: PageSeen, read: _FormRead) -> None:
        self._page = page
        self._inputs = read.inputs
        self.id = read.attributes.get("id", "")
        self.name = read.attributes.get("name", "")
        self.action = read.attributes.get("action", "") or page.path
        self.method = read.attributes.get("method", "get").upper()

    @property
    def values(self) -> dict[str, str | list[str]]:
        """What the browser would send as the form stands, without buttons."""
        sent: dict[str, str | list[str]] = {}
        for one in self._inputs:
            if not one.name or one.kind in ("submit", "button") or not one.checked:
                continue
            if one.name in sent:
                before = sent[one.name]
                sent[one.name] = [*(before if isinstance(before, list) else [before]), one.value]
            else:
                sent[one.name] = one.value
        return sent

    @property
    def fields(self) -> list[str]:
        """The names of all fields and buttons."""
        return list(dict.fromkeys(one.name for one in self._inputs if one.name))

    def options(self, name: str) -> list[str]:
        """The values that a choice offers."""
        found = [o for one in self._inputs if one.name == name for o in one.options]
        return found or [one.value for one in self._inputs if one.name == name]

    async def send(self, **typed: Any) -> httpx.Response:
        """Fill and send; the bare response. Rows: ``send(**{"lines.0.quantity": 2})``."""
        for name in typed:
            assert name in self.fields, f"{self.action} has no field {name!r}: {self.fields}"
        values = {**self.values, **{k: _typed(v) for k, v in typed.items()}}
        path = urljoin(self._page.path, self.action)
        client = self._page.client
        if self.method == "GET":
            return await client.request("GET", path, params=values)
        headers = {"Origin": str(client.http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        return await client.request(self.method, path, data=values, headers=headers)

    async def submit(self, *, status: int | None = 200, **typed: Any) -> PageSeen:
        """Fill, send, follow: the page that comes, whose status is asserted."""
        return await self._page.client.follow(await self.send(**typed), status=status)


def _typed(value: Any) -> str | list[str]:
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return "" if value is None else str(value)


class _Reader(HTMLParser):
    """Reads forms, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_FormRead] = []
        self.links: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.root: dict[str, str] = {}
        self._form: _FormRead | None = None
        self._select: _Input | None = None
        self._area: _Input | None = None
        self._link: list[str] | None = None
        self._href = ""
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "html":
            self.root = has
        elif tag in ("script", "style"):
            self._silent += 1
        elif tag == "form" and has.get("method") != "dialog":  # that one only closes a dialog
            self._form = _FormRead(has)
            self.forms.append(self._form)
        elif tag == "a" and "href" in has:
            self._link, self._href = [], has["href"]
        elif tag == "option" and self._select is not None:
            value = has.get("value", "")
            if not self._select.options or "selected" in has:
                self._select.value = value
            self._select.options.append(value)
        else:
            self._input(tag, has)

    def _input(self, tag: str, has: dict[str, str]) -> None:
        if self._form is None or tag not in ("input", "select", "textarea", "button"):
            return
        kind = has.get("type", "submit" if tag == "button" else "text")
        default = "on" if kind in ("checkbox", "radio") else ""
        checked = kind not in ("checkbox", "radio") or "checked" in has
        one = _Input(has.get("name", ""), has.get("value", default), kind, checked)
        self._form.inputs.append(one)
        if tag == "select":
            self._select = one
        elif tag == "textarea":
            self._area = one

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._silent -= 1
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None
        elif tag == "a" and self._link is not None:
            self.links.append((" ".join("".join(self._link).split()), self._href))
            self._link = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._area.value += data
        if self._silent:
            return
        self.text.append(data)
        if self._link is not None:
            self._link.append(data)
