"""Imported by the fork server alone: all that the services will need, before the first fork.

Importing starts no thread, opens nothing and draws no random number: a test holds it to that.
"""

from __future__ import annotations

import contextlib
import gc
import signal
from importlib.metadata import entry_points


def load() -> None:
    import web.serve  # noqa: F401

    for service in entry_points(group="vicinato.services"):
        with contextlib.suppress(Exception):  # the service itself will say it, in its own log
            service.load()
    # A SIGTERM for the whole group is not for the fork server: its children would be killed with it
    # before they have stopped. It goes when nobody holds it any more.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # or the collector's first round writes into every shared page


load()
