"""Whose a cluster is: asked before anything is changed on one that exists, and written down there.

The mark of an installation is an empty topic whose name ends with its id: nobody but the cluster's
administrator sees it, and it lasts as long as the cluster. A cluster with topics of ours and
without a mark (of an earlier version, of containers, which have no id, or made by Strimzi) is that
of the installation whose passwords open it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its names are not marked as its own
    AdminClient,
    NewTopic,
)

from vicinato.kafka.provision import TIMEOUT, addresses, client_settings, in_one_sentence, settle
from vicinato.kafka.topics import Topics

MARK = "vicinato.installation."


class NotOursError(Exception):
    """The cluster is another installation's; how that is seen."""


def claim(
    admin: AdminClient,
    topics: Topics,
    secrets: Mapping[str, str],
    installation: str,
    *,
    take_over: bool = False,
) -> None:
    """From here on the cluster is that of `installation`; "" has no mark. `secrets`: its passwords.

    Raises NotOursError, with nothing changed, when the cluster is another's, which loses its mark
    when this one is to `take_over`; ProvisioningError.
    """
    with in_one_sentence():
        there = admin.list_topics(timeout=TIMEOUT)
        marks = {name for name in there.topics if name.startswith(MARK)}
        ours = {f"{MARK}{installation}"} if installation else set()
        others = sorted(marks - ours)
        if not take_over:
            if others:
                raise NotOursError(f"its topic {others[0]} is the mark of another one")
            used = not there.topics.keys().isdisjoint(topics.names)
            if used and not marks and not _is_opened(addresses(there), secrets):
                raise NotOursError("it has topics of Vicinato, and no password from here opens it")
        if others:
            settle(admin.delete_topics(others, operation_timeout=TIMEOUT))
        if new := [NewTopic(mark, 1, -1) for mark in ours - marks]:
            settle(admin.create_topics(new, operation_timeout=TIMEOUT))


def _is_opened(bootstrap: str, secrets: Mapping[str, str]) -> bool:
    """By one of these users; the others may have a new password, or be new."""
    return any(_opens(bootstrap, user, secret) for user, secret in secrets.items())


def _opens(bootstrap: str, user: str, secret: str) -> bool:
    """Raises KafkaException when the cluster says neither yes nor no in time."""
    refused: list[KafkaError] = []
    client = AdminClient(client_settings(bootstrap, user, secret) | {"error_cb": refused.append})
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            client.list_topics(timeout=0.5)
        except KafkaException:
            client.poll(0)
            if any(error.code() == KafkaError._AUTHENTICATION for error in refused):
                return False
            if time.monotonic() > deadline:
                raise
        else:
            return True
