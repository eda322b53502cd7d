"""Kafka as its administrator meets it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka.admin import AdminClient

from chaos.faults.patience import patiently
from chaos.faults.site import FaultError, Site
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import client_settings

ANSWERS_WITHIN = 20.0


def client(site: Site) -> dict[str, Any]:
    """Not through the proxy for the first word; what Kafka advertises is the proxy, so that whoever
    asks for more than a list must have the wire for himself."""
    address = f"127.0.0.1:{site.house.settings.kafka_port}"
    return client_settings(address, ADMIN, site.folder.kafka_secrets.get(ADMIN))


def admin(site: Site) -> AdminClient:
    return AdminClient(client(site))


async def answers(site: Site) -> None:
    """Returns when Kafka is up, provisioned, and answers: one that another fault made end may count
    as ready a moment longer. A broker that was frozen is shut out for some seconds; an
    administrator's client that meets it then knows no broker, and does not ask again."""
    await site.kafka_answers()
    await asyncio.to_thread(
        until, partial(_has_a_controller, site), ANSWERS_WITHIN, "Kafka has no controller"
    )


def _has_a_controller(site: Site) -> bool:
    found = patiently(lambda: admin(site).list_topics(timeout=ANSWERS_WITHIN))
    return found.controller_id >= 0


def until(probe: Callable[[], bool], within: float, otherwise: str) -> None:
    """Ask until the answer is yes. Raises FaultError with what is so otherwise."""
    deadline = time.monotonic() + within
    while not probe():
        if time.monotonic() > deadline:
            raise FaultError(otherwise)
        time.sleep(0.2)
