"""A client that does not give up: the same id and content again until there is an answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.record import Record

PATIENCE = 75.0
"""Seconds until a client stops asking and does not know."""

BEFORE_HANGING_UP = 0.01
"""Seconds: the request has arrived and is at work."""

AGAIN = frozenset({401, 408, 425, 429, 500, 502, 503, 504})
"""401: the keys of identity may not have reached a service that has just lost its store or date."""


@dataclass
class Client:
    """Asks, and keeps what it was told. `others`: second copies of services, by path prefix."""

    address: str
    tokens: dict[str, str]
    record: Record
    others: dict[str, str] = field(default_factory=dict)
    statuses: dict[int | str, int] = field(default_factory=dict)
    hangs_up: bool = False
    """Whether every other request is broken off in its middle, or before its answer, and made again
    after that."""

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        self._http = httpx.AsyncClient(timeout=15, limits=limits)
        self._turn = 0
        self._begun = 0

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(
        self, kind: str, op: str, method: str, path: str, body: Any, *, by: str, **kept: Any
    ) -> Any:
        """The good answer, kept as told with `kept`; None when it was refused or is unknown.

        `op` is the Idempotency-Key too, so that what was done is not done again.
        """
        await self.record.keep("asked", kind, op, **kept)
        deadline = time.monotonic() + PATIENCE
        pause = 0.1
        while True:
            answer = await self._once(method, path, body, by=by, key=op)
            if answer is not None and answer.status_code not in AGAIN:
                return await self._answered(kind, op, answer, kept)
            if time.monotonic() > deadline:
                await self.record.keep("unknown", kind, op, **kept)
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _answered(
        self, kind: str, op: str, answer: httpx.Response, kept: dict[str, Any]
    ) -> Any:
        content = answer.json() if answer.content else {}
        if answer.is_success:
            await self.record.keep("told", kind, op, **kept, **_of(kind, content))
            return content
        reason = content.get("reason", "")
        await self.record.keep(
            "refused", kind, op, status=answer.status_code, reason=reason, **kept
        )
        return None

    async def _once(
        self, method: str, path: str, body: Any, *, by: str, key: str
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {self.tokens[by]}", "Idempotency-Key": key}
        address = self._address(path)
        request = self._http.build_request(method, address + path, json=body, headers=headers)
        self._begun += 1
        if self.hangs_up and self._begun % 2:
            await _hung_up(request, share=self._begun % 3 / 2)
            self._count("hung up")
            return None
        try:
            answer = await self._http.send(request)
        except httpx.HTTPError as error:
            self._count(type(error).__name__)
            return None
        self._count(answer.status_code)
        return answer

    def _address(self, path: str) -> str:
        """Every other request to a service goes to its second copy while there is one."""
        other = self.others.get(path.split("/")[1])
        self._turn += 1
        return other if other and self._turn % 2 else self.address

    async def get(self, path: str, *, by: str) -> Any:
        """What is there now; None when nobody answers."""
        headers = {"Authorization": f"Bearer {self.tokens[by]}"}
        try:
            answer = await self._http.get(self.address + path, headers=headers)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    async def command(self, path: str, *, by: str, body: Any = None) -> bool:
        """Whether a command, without content when none is given, was done just now."""
        headers = {"Authorization": f"Bearer {self.tokens[by]}"}
        try:
            answer = await self._http.post(self.address + path, json=body, headers=headers)
            return answer.is_success
        except httpx.HTTPError:
            return False

    def counted(self) -> str:
        """How often each status was answered, or none."""
        known = sorted(self.statuses.items(), key=lambda item: str(item[0]))
        return ", ".join(f"{status}: {times}" for status, times in known)

    def _count(self, what: int | str) -> None:
        self.statuses[what] = self.statuses.get(what, 0) + 1


async def _hung_up(request: httpx.Request, share: float) -> None:
    """Of the body this share is sent, and then a reset in place of a farewell."""
    head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    said = request.content[: round(share * len(request.content))]
    with contextlib.suppress(OSError):
        _, wire = await asyncio.open_connection(request.url.host, request.url.port)
        wire.write("\r\n".join([*head, "", ""]).encode() + said)
        await wire.drain()
        await asyncio.sleep(BEFORE_HANGING_UP)
        wire.transport.abort()


def _of(kind: str, content: Any) -> dict[str, Any]:
    """What of an answer is a fact that must stay."""
    match kind:
        case "sale" | "referral":
            return {"state": content["state"]}
        case "sign-up":
            return {"sign_ups": [one["id"] for one in content["sign_ups"]]}
        case "register":
            return {"revision": content["revision"]}
        case _:
            return {}
