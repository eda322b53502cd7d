"""The clock of a machine whose battery is empty; imported before any service is forked.

The clock that may be played (`VICINATO_CLOCK_FILE`) says so and is no jump; this one does not.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runtime.clock import SystemClock
from vicinato.programs import preloaded  # noqa: F401 - all that services need is imported there


def _now(_clock: SystemClock) -> datetime:
    try:
        seconds = float(Path(os.environ["CHAOS_BATTERY"]).read_text(encoding="ascii"))
    except (KeyError, OSError, ValueError):
        seconds = 0.0
    return datetime.now(UTC) + timedelta(seconds=seconds)


_patched: Any = _now
SystemClock.now = _patched  # type: ignore[method-assign]
