"""Caddy, from the wheel, with the Caddyfile that production uses as well."""

from __future__ import annotations

import os
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from vicinato.ask import expect_ok
from vicinato.child import Program
from vicinato.folder import Folder
from vicinato.paths import caddyfile
from vicinato.settings import SERVICES, Settings


def front_door(settings: Settings, folder: Folder) -> Program:
    env = {
        "SITE": f"http://:{settings.port}",
        "BIND": settings.bind,
        "STATIC": str(_static()),
        "PAGES": str(caddyfile().with_name("front-door")),
        "XDG_DATA_HOME": str(folder.front_door),
        "XDG_CONFIG_HOME": str(folder.front_door),
        "GOGC": os.environ.get("GOGC", "40"),  # a few MB less; it has next to nothing to collect
        **{f"{name.upper()}_AT": f"127.0.0.1:{settings.service_port(name)}" for name in SERVICES},
    }
    host = "127.0.0.1" if settings.bind in ("0.0.0.0", "::", "") else settings.bind  # noqa: S104
    return Program(
        name="front-door",
        command=lambda: [str(_caddy()), "run", "--config", str(caddyfile())],
        log=folder.log("front-door"),
        port=settings.port,
        env=env,
        probe=lambda: expect_ok(settings.port, "/front-door", host=host),
        alive=lambda: expect_ok(settings.port, "/front-door", within=5.0, host=host),
        ready_within=settings.ready_within,
    )


def _static() -> Path:
    """The folder of the package `web`, found without importing it (30 MB)."""
    spec = find_spec("web")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package web is not installed")
    return Path(spec.submodule_search_locations[0]) / "static"


def _caddy() -> Path:
    return Path(sysconfig.get_path("scripts")) / "caddy"
