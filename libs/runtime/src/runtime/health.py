"""Whether a process lives, and whether it may be sent requests.

*Live* means that restarting would not help: it watches progress, not neighbours. *Ready* means that
requests can be served: the store is hard, Kafka is soft, since the service works on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from runtime.logging import told

Probe = Callable[[], Awaitable[object]]
"""Raises, or answers False, when something is wrong."""

PATIENCE = 2.0
"""Seconds that a probe may take."""


class Health:
    """The probes of one app."""

    def __init__(self) -> None:
        self._hard: dict[str, Probe] = {}
        self._soft: dict[str, Probe] = {}
        self._live: dict[str, Probe] = {}

    def hard(self, name: str, probe: Probe) -> None:
        """Without this the app is not ready."""
        self._hard[name] = probe

    def soft(self, name: str, probe: Probe) -> None:
        """Shown, but the app is ready without it."""
        self._soft[name] = probe

    def live(self, name: str, probe: Probe) -> None:
        """Without this the process should be restarted: something in it stands still."""
        self._live[name] = probe

    async def livez(self) -> tuple[bool, dict[str, Any]]:
        """Whether it lives, and the answer for /livez."""
        found = await _ask(self._live)
        good = all(answer == "ok" for answer in found.values())
        return good, {"status": "ok" if good else "failing", "checks": found}

    async def readyz(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and the answer for /readyz."""
        hard, soft = await asyncio.gather(_ask(self._hard), _ask(self._soft))
        good = all(answer == "ok" for answer in hard.values())
        fine = good and all(answer == "ok" for answer in soft.values())
        status = "ok" if fine else "degraded" if good else "failing"
        return good, {"status": status, "checks": hard | soft}


async def _ask(probes: dict[str, Probe]) -> dict[str, str]:
    answers = await asyncio.gather(*(_one(probe) for probe in probes.values()))
    return dict(zip(probes, answers, strict=True))


async def _one(probe: Probe) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await probe()
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except Exception as error:
        return told(error)
    return "failing" if answer is False else "ok"
