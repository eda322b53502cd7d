"""Ports of this machine: which are free, which answer."""

from __future__ import annotations

import errno
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


class NoAddressError(Exception):
    """Nobody can listen there: the host is no name that is known, or no address of this machine."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether we could listen there: the port of one that has just gone counts as free.

    Raises PermissionError when this user may not, and NoAddressError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise NoAddressError(f"{host} is no address and no name that is known here") from error
    # Of a name with both, the front door takes the address of the older kind.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise NoAddressError(f"{host} is no address of this machine ({error.strerror})") from error
    return True


def answers(port: int, host: str = "127.0.0.1", within: float = 0.3) -> bool:
    try:
        with socket.create_connection((host, port), timeout=within):
            return True
    except OSError:
        return False
