"""What surrounds every request: correlation, a span, a limit to its size, safe headers, a log line.

Plain ASGI, so that streams stay streams. Errors that no handler knew end here, inside the safe
headers, and not in the server's. So do requests that the server cuts off because it stops.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime import telemetry
from runtime.correlation import bind
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.refusals import N_, Unavailable
from web.errors import answer
from web.figures import Figures

LARGEST_BODY = 1024 * 1024
CORRELATION = "X-Correlation-ID"
_CORRELATION = CORRELATION.lower().encode()
VARIES = "Cookie, Accept-Language, Authorization"
"""What an answer that is not for everybody depends on."""

_WELL_FORMED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{7,63}$")
_PROBES = ("/livez", "/readyz", "/metrics")

_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
SAFE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"

log = get_logger()


class BeingRestored(Unavailable):
    """The store comes back from a backup: nothing is answered until all is there again."""

    def __init__(self) -> None:
        super().__init__(
            "service.restoring",
            N_("A backup is being put back: this part of the house opens again in a few minutes."),
            N_("Nothing has to be done: try again later."),
        )


def path_stays_open(path: str) -> bool:
    """Probes and style sheets are answered while the service is closed."""
    return path.endswith(_PROBES) or path.startswith("/static/")


class Edge:
    """The outermost layer of an app. While the service is `closed` it answers 503 itself."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        ids: Ids,
        secure: bool,
        figures: Figures,
        closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._closed = closed
        self._ids = ids
        self._figures = figures
        safe = SAFE_HEADERS | ({"Strict-Transport-Security": STRICT_TRANSPORT} if secure else {})
        self._safe = _raw(safe)
        self._safe_and_private = _raw(safe | {"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        correlation = _correlation(headers) or self._ids.new()
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["correlation"] = correlation
        started = time.perf_counter()
        status = 0
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > LARGEST_BODY:
                raise HTTPException(413)
            return message

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._protect(message, scope["path"], correlation)
            await send(message)

        with (
            bind(correlation),
            _span(scope, headers),
        ):
            try:
                if _announced(headers) > LARGEST_BODY:
                    raise HTTPException(413)
                if self._closed() and not path_stays_open(scope["path"]):
                    raise BeingRestored
                await self._app(scope, limited, guarded)
            except Exception as error:
                if status:
                    raise
                response = await answer(Request(scope, receive), error)
                await response(scope, receive, guarded)
            except asyncio.CancelledError:
                # Whether it was done by then nobody can say: the same once more will tell.
                if status:
                    raise
                response = await answer(Request(scope, receive), HTTPException(503))
                await response(scope, receive, guarded)
            finally:
                self._tell(scope, status, time.perf_counter() - started)

    def _protect(self, message: Message, path: str, correlation: str) -> None:
        public = path.startswith("/static/")
        given = [*message.get("headers", ())]
        names = {name for name, _ in given}
        safe = self._safe if public else self._safe_and_private
        headers = [*given, *(header for header in safe if header[0] not in names)]
        headers.append((_CORRELATION, correlation.encode()))
        message["headers"] = headers
        if public:
            return
        if b"vary" in names:
            MutableHeaders(scope=message).add_vary_header(VARIES)
        else:
            headers.append((b"vary", VARIES.encode()))

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        """One line and one span per request: the route, never the path with its ids, and no
        query."""
        # The call holds its request, which holds the call: whatever else hangs on it would be left
        # to the garbage collector.
        call = scope["state"].pop("call", None)
        route = scope.get("route")
        path = getattr(route, "path", None) or "-"
        if path.endswith(_PROBES):
            return
        telemetry.describe(
            f"{scope['method']} {path}", **{"http.route": path, "http.response.status_code": status}
        )
        if not path.endswith("/live/{name}"):  # a stream is no answer whose time counts
            self._figures.request(scope["method"], path, status, seconds)
        log.info(
            "web.request",
            actor=call.caller.account_id if call is not None else "",
            method=scope["method"],
            route=path,
            status=status,
            duration_ms=round(seconds * 1000, 1),
        )


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _span(scope: Scope, headers: Headers) -> AbstractContextManager[None]:
    """Goes on with the caller's trace; whoever looks whether we live every few seconds has none."""
    if not telemetry.tracing() or scope["path"].endswith(_PROBES):
        return nullcontext()
    return telemetry.continue_trace(headers.get("traceparent", ""), scope["method"])


def _correlation(headers: Headers) -> str:
    given = headers.get(CORRELATION, "")
    if _WELL_FORMED.match(given):
        return given
    traced = _TRACEPARENT.match(headers.get("traceparent", ""))
    return traced.group(1) if traced and traced.group(1) != "0" * 32 else ""


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        return 0
    return int(length) if len(length) < 20 else LARGEST_BODY + 1
