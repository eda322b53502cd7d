"""``python -m web.serve SERVICE``: one service, served until it is told to stop.

SIGTERM and SIGINT end it within 15 s: no new requests, live streams closed, running requests
finished, then consumer, relay and store. A wrong setting, or data of another version, is one
sentence on stderr and exit code 2; a database that is away is 1, so that it is tried again.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import FrameType
from typing import cast

import uvicorn

from messaging import Service
from runtime import logging, memory, migrations, telemetry
from runtime.failures import is_transient
from runtime.logging import told
from runtime.settings import Settings, SettingsError, load
from web import live
from web.app import build

GRACE = 10
"""Seconds that running requests have; the rest of the 15 is for the engine and the store."""


SWITCH = 0.001
"""Seconds after which a thread of the store gives way to the one that answers requests: with
Python's 5 ms a sale waits longer for its turns than for its work."""

COLLECT = (20_000, 10, 10)
"""How many new objects make the garbage collector look at the youngest, and how often at the rest.
With Python's 700 it looks at a batch of a thousand events again and again while they are worked on:
a seventh of the time of a rebuild."""


def spare_the_collector() -> None:
    """What is there already is not looked at again, what is new as seldom as `COLLECT` says."""
    gc.collect()
    gc.freeze()  # or each whole round looks at all that was imported: 60 ms that a till waits
    gc.set_threshold(*COLLECT)


class Server(uvicorn.Server):
    """uvicorn, that ends live streams before it waits for open connections."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C does not wait. (uvicorn's own would end the process by the signal
        in the end, which a supervisor reads as a crash.)"""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        spare_the_collector()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        live.hub.close()
        await super().shutdown(sockets)


def service_named(name: str) -> Service:
    """The installed service of this name; SettingsError names those that there are."""
    known = {entry.name: entry for entry in entry_points(group="vicinato.services")}
    if name not in known:
        raise SettingsError(f"there is no service {name!r}; there are {', '.join(sorted(known))}")
    return cast(Service, known[name].load())


def configuration(service: Service, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves: no lines of its own, forwarded headers from the front door only."""
    return uvicorn.Config(
        build(service, settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.front_door,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=20,
    )


def main(arguments: Sequence[str]) -> int:
    """Serve; 0 when stopped, 1 when it could not start, 2 for a wrong call or setting."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m web.serve SERVICE\n")
        return 2
    try:
        service = service_named(arguments[0])
        settings = load(service.name, model=service.settings)
        migrations.check(settings.database_url, service.package)
    except (SettingsError, migrations.MigrationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except Exception as error:
        if not is_transient(error):
            raise
        sys.stderr.write(f"the database of {service.name} does not answer: {told(error)}\n")
        return 1
    sys.setswitchinterval(SWITCH)
    logging.configure(service.name, level=settings.log_level, format=settings.log_format)
    memory.end_without()
    telemetry.configure_traces(service.name, settings.otlp_endpoint)
    server = Server(configuration(service, settings))
    try:
        server.run()
    finally:
        telemetry.stop_traces()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
