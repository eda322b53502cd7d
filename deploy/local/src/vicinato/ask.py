"""The few HTTP calls of the supervisor to its own children, by the standard library."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

from vicinato.child import NotReadyError


def get(port: int, path: str, within: float = 2.0, host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and body; OSError when nobody answers in time."""
    connection = http.client.HTTPConnection(host, port, timeout=within)
    try:
        connection.request("GET", path, headers={"User-Agent": "vicinato"})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


async def expect_ok(port: int, path: str, within: float = 2.0, host: str = "127.0.0.1") -> None:
    """Returns on a 2xx; NotReadyError with what was seen instead."""
    try:
        status, body = await asyncio.to_thread(get, port, path, within, host)
    except OSError as error:
        raise NotReadyError(f"no answer on port {port}: {error}") from error
    if not 200 <= status < 300:
        raise NotReadyError(f"{path} answered {status}: {_short(body)}")


def is_served_by_kafka(port: int) -> bool:
    """Whether the service there says so: it is on the bus, and its events are taken. Also when it
    says nothing, or has not opened since a restore."""
    try:
        _, body = get(port, "/readyz")
        checks = json.loads(body)["checks"]
        good = checks["bus"] == checks["events"] == "ok"
        return bool(good or checks["restored"] != "ok")
    except (OSError, ValueError, LookupError, TypeError):
        return True


def _short(body: str) -> str:
    try:
        found: Any = json.loads(body)
    except ValueError:
        return body[:200]
    return json.dumps(found)[:200]
