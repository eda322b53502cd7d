"""One process per service: what `python -m web.serve NAME` runs, told all by its environment."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote, urlsplit, urlunsplit

from vicinato.ask import expect_ok
from vicinato.child import Program
from vicinato.folder import Folder
from vicinato.programs.nursery import fork
from vicinato.programs.postgresql import server_url
from vicinato.settings import Settings


def name_in_database(service: str) -> str:
    """Of its database and of its role: a server may serve others too."""
    return f"vicinato_{service}"


def url_on(server: str, service: str, secret: str) -> str:
    """The service's own database on the server named by an administrator's URL."""
    parts = urlsplit(server)
    name, where = name_in_database(service), parts.netloc.rpartition("@")[2]
    return urlunsplit(
        ("postgresql", f"{name}:{quote(secret, safe='')}@{where}", f"/{name}", parts.query, "")
    )


def store_url(service: str, settings: Settings, folder: Folder) -> str:
    """Where the service keeps what is its own; on PostgreSQL with a role of its own."""
    if settings.engine == "sqlite":
        return f"sqlite:///{folder.stores / service}.db"
    secrets = folder.secrets
    return url_on(server_url(settings, secrets), service, secrets.get(f"store-{service}"))


def service(name: str, settings: Settings, folder: Folder) -> Program:
    port = settings.service_port(name)
    own = folder.service(name)
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    env = {
        "VICINATO_SERVICE": name,
        "VICINATO_DATABASE_URL": store_url(name, settings, folder),
        "VICINATO_KAFKA": settings.bootstrap,
        "VICINATO_KAFKA_USER": name,
        "VICINATO_KAFKA_SECRET_FILE": str(folder.kafka_secrets.path(name)),
        "VICINATO_HOST": "127.0.0.1",
        "VICINATO_PORT": str(port),
        "VICINATO_PUBLIC_URL": settings.address,
        "VICINATO_DATA": str(own),
        # Arenas of the C library's memory: a process of few threads needs no more than two.
        "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
    }
    if name == "identity":
        env["VICINATO_IDENTITY_KEY_FILE"] = str(folder.secrets.path("identity-key"))
        env["VICINATO_FIRST_ADMIN_FILE"] = str(folder.secrets.folder / "first-admin.json")
    return Program(
        name=name,
        command=lambda: [sys.executable, "-m", "web.serve", name],
        log=folder.log(name),
        spawn=fork,
        port=port,
        env=env,
        probe=lambda: expect_ok(port, "/readyz"),
        alive=lambda: expect_ok(port, "/livez", within=5.0),
        ready_within=settings.ready_within,
    )
