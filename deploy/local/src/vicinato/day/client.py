"""The public HTTP API as a client of ours would use it: tokens, retries, what took how long."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

TRIES = 5
"""Of a request that was not answered, or answered 503; each carries an Idempotency-Key."""


class Refused(Exception):  # noqa: N818 - it is an answer
    """The house said no, with a reason."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.reason = str(problem.get("reason") or problem.get("title") or status)
        errors = problem.get("errors") or []
        detail = "; ".join(f"{e.get('field', '')}: {e.get('sentence', '')}" for e in errors)
        self.detail = detail or str(problem.get("detail") or "")
        super().__init__(f"{self.reason} ({status}) {self.detail}".strip())


@dataclass
class Api:
    """A centre's HTTP API. `tokens` by the name of who acts."""

    address: str
    tokens: dict[str, str] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._client = httpx.AsyncClient(
            base_url=self.address,
            timeout=30,
            headers={"Accept-Language": "it"},
            trust_env=False,  # past any proxy: the house is on this machine
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def sign_in(self, who: str, email: str, password: str, *, days: int = 90) -> None:
        """A token of `who`. Raises Refused."""
        answer = await self.send(
            "POST",
            "/identity/api/tokens",
            json={"email": email, "password": password, "name": "day", "days": days},
        )
        self.tokens[who] = answer["token"]

    async def choose_password(self, email: str, first: str, password: str) -> None:
        """Somebody's own password in place of their first one; also when it was chosen before.
        Raises Refused."""
        try:
            await self.send(
                "POST",
                "/identity/api/password",
                json={"email": email, "password": first, "new_password": password},
            )
        except Refused as refused:
            if refused.reason != "sign_in.wrong":
                raise

    async def get(self, path: str, *, by: str, **query: str) -> Any:
        return await self.send("GET", path, by=by, params=query)

    async def post(self, path: str, json: Any = None, *, by: str, key: str = "") -> Any:
        return await self.send("POST", path, by=by, json=json, key=key)

    async def pages(self, path: str, *, by: str, **query: str) -> list[Any]:
        """All items of a paged list."""
        found: list[Any] = []
        after: str | None = ""
        while after is not None:
            more = {"after": after} if after else {}
            page = await self.get(path, by=by, limit="200", **query, **more)
            found += page["items"]
            after = page["next"]
        return found

    async def send(
        self,
        method: str,
        path: str,
        *,
        by: str = "",
        json: Any = None,
        key: str = "",
        params: dict[str, str] | None = None,
    ) -> Any:
        """The JSON of a good answer. Raises Refused with the problem of another one, and httpx's
        errors when nobody answers at all."""
        headers = {"Authorization": f"Bearer {self.tokens[by]}"} if by else {}
        if key:
            headers["Idempotency-Key"] = key
        for attempt in range(1, TRIES + 1):
            began = time.perf_counter()
            try:
                answer = await self._client.request(
                    method, path, json=json, headers=headers, params=params
                )
            except httpx.TransportError:
                if attempt == TRIES or not (key or method == "GET"):
                    raise
            else:
                self.took[_step(method, path)].append(time.perf_counter() - began)
                if answer.status_code != 503 or attempt == TRIES:
                    return _content(answer)
            await asyncio.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")


def _step(method: str, path: str) -> str:
    """The request without its ids: ``POST /shop/api/tills/…/sales``."""
    parts = path.strip("/").split("/")
    shown = [
        part if k < 3 or part.replace("-", "").isalpha() else "…" for k, part in enumerate(parts)
    ]
    return f"{method} /{'/'.join(shown)}"


def _content(answer: httpx.Response) -> Any:
    if answer.status_code == 204:
        return None
    try:
        body = answer.json()
    except ValueError:
        body = {"title": f"answered {answer.headers.get('content-type', 'nothing')}"}
    if answer.is_success:
        return body
    raise Refused(answer.status_code, body)
