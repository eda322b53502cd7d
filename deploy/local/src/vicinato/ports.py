"""Ports of this machine: which are free, which answer."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BLOCK = 13
"""Ports that one installation uses, from its front door on."""


class NoFreePortsError(Exception):
    """There is no row of free ports on this machine."""


def free_block() -> int:
    """The first of a row of free ports, below those that the system gives to outgoing calls.

    Raises NoFreePortsError.
    """
    for _ in range(200):
        first = random.randrange(10_240, 32_000, 16)  # noqa: S311 - no secret
        if all(is_free(first + k) for k in range(BLOCK)):
            return first
    raise NoFreePortsError("There is no row of free ports on this machine.")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether we could listen there: the port of one that has just gone counts as free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def answers(port: int, host: str = "127.0.0.1", within: float = 0.3) -> bool:
    try:
        with socket.create_connection((host, port), timeout=within):
            return True
    except OSError:
        return False
