"""Where the files lie that start the house: topics, the jars' lock, the front door's routes."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "VICINATO_UP_"
NAMES = frozenset(f"{PREFIX}{name}" for name in ("DEPLOY", "TOPICS", "CACHE", "OUTBOX_COPY"))
"""The settings that are read here and nowhere else; the services pass all of the prefix over."""


def deploy_folder() -> Path:
    """The `deploy/` folder: VICINATO_UP_DEPLOY, else that of the checkout we live in."""
    named = os.environ.get("VICINATO_UP_DEPLOY")
    return Path(named).resolve() if named else Path(__file__).resolve().parents[3]


def topics_file() -> Path:
    return Path(os.environ.get("VICINATO_UP_TOPICS") or deploy_folder() / "kafka" / "topics.toml")


def kafka_lock_file() -> Path:
    return deploy_folder() / "kafka" / "kafka.lock"


def caddyfile() -> Path:
    return deploy_folder() / "local" / "Caddyfile"


def cache_folder() -> Path:
    """What can be fetched again: VICINATO_UP_CACHE, else `vicinato` in the user's cache folder."""
    named = os.environ.get("VICINATO_UP_CACHE")
    if named:
        return Path(named).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vicinato"


def outbox_copy() -> Path | None:
    """The folder on another disk for the second copy of the outboxes: VICINATO_UP_OUTBOX_COPY."""
    named = os.environ.get("VICINATO_UP_OUTBOX_COPY")
    return Path(named).resolve() if named else None
