"""What one fault needs may be away just now because of another: it is asked for again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
import sqlalchemy as sa
from confluent_kafka import KafkaException

from vicinato.kafka.provision import ProvisioningError

T = TypeVar("T")

COMES_BACK_WITHIN = 60.0
"""Longer than any fault lasts."""

AWAY = (
    psycopg.OperationalError,
    sa.exc.OperationalError,
    sqlite3.OperationalError,
    KafkaException,
    ProvisioningError,
)


def patiently(work: Callable[[], T]) -> T:
    """All of `work`, from the first connection on, until it is done once. A server that another
    fault brought down comes back, a disk has room again, who holds a lock wakes up.

    `work` may be done in part several times. Raises what it raises when the patience is over.
    """
    deadline = time.monotonic() + COMES_BACK_WITHIN
    while True:
        try:
            return work()
        except AWAY:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
