"""`python -m chaos.up up`: the house as `vicinato up` starts it, with something between its wires.

What is different: services reach Kafka and PostgreSQL through the ports of chaos's proxies, the
machine's clock that they see is the real one plus what the file CHAOS_BATTERY says, and a child
that dies is started again within two seconds however often it died. All else is the product.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from vicinato import cli, supervisor
from vicinato.child import Backoff
from vicinato.kafka.broker import Broker
from vicinato.programs import nursery
from vicinato.settings import Settings

PRELOADED = "chaos.battery"


def wire() -> None:
    """Put the proxies between, for this process and the services that it starts."""
    # The package's names `kafka` and `service` are the functions, not the modules.
    kafka: Any = importlib.import_module("vicinato.programs.kafka")
    service: Any = importlib.import_module("vicinato.programs.service")
    bus, store = os.environ["CHAOS_KAFKA"], os.environ["CHAOS_POSTGRESQL"]

    class WiredBroker(Broker):
        """Tells its clients the address of the proxy."""

        @property
        def bootstrap(self) -> str:
            return f"127.0.0.1:{bus}"

    direct = service.server_url

    def proxied(*args: Any) -> str:
        parts = urlsplit(direct(*args))
        where = f"{parts.netloc.rpartition(':')[0]}:{store}"
        return str(urlunsplit((parts.scheme, where, parts.path, parts.query, "")))

    kafka.Broker = WiredBroker
    service.server_url = proxied
    nursery.PRELOADED = PRELOADED
    bootstrap: Any = property(lambda _: f"127.0.0.1:{bus}")
    Settings.bootstrap = bootstrap  # type: ignore[method-assign]
    quick: Any = partial(supervisor.Supervisor, backoff=Backoff(0.3, 2.0, 5.0))
    supervisor.Supervisor = quick  # type: ignore[misc]


if __name__ == "__main__":
    wire()
    cli.main()
