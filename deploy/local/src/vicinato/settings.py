"""The settings of one installation, from the environment, checked before anything starts."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from vicinato import paths
from vicinato.refusals import CommandError, Exit

SERVICES = ("identity", "cards", "shop", "activities", "notifications", "network")
"""In the order of their ports, PORT + 1 to PORT + 6."""

_NOT_THEIRS = {"VICINATO_NO_SKIPS"} | paths.NAMES
"""Not the services' business: no reason to ask them."""
SET_BY_US = {
    "VICINATO_SERVICE",
    "VICINATO_DATABASE_URL",
    "VICINATO_DATABASE_SECRET_FILE",
    "VICINATO_KAFKA",
    "VICINATO_KAFKA_USER",
    "VICINATO_KAFKA_SECRET_FILE",
    "VICINATO_HOST",
    "VICINATO_PORT",
    "VICINATO_PUBLIC_URL",
    "VICINATO_FRONT_DOOR",
    "VICINATO_DATA",
    "VICINATO_IDENTITY_KEY_FILE",
    "VICINATO_FIRST_ADMIN_FILE",
}
_PUBLIC_URL = re.compile(r"https?://[^/\s]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
"""What anybody would see; identity looks closer when it makes the account."""
_HOST_PORT = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}(,[A-Za-z0-9._-]+:[0-9]{1,5})*")


class Settings(BaseModel):
    """Field names are the names of the environment's variables, in capitals there. `load` reads
    them: to import what would read them by itself takes every command a tenth of a second."""

    port: Annotated[int, Field(ge=1, le=65535 - 12)] = 8080
    """The front door; services follow at +1 to +6, Kafka +10 and +11, PostgreSQL +12."""
    bind: str = "127.0.0.1"
    """The address on which the front door listens; 0.0.0.0 for the whole local network."""
    public_url: str = ""
    """The address that people type; made from PORT when empty."""
    data: Path = Path("data")
    kafka: str = ""
    """host:port of a cluster that exists; empty for our own."""
    kafka_admin_user: str = ""
    kafka_admin_secret_file: Path | None = None
    database: str = "sqlite"
    """sqlite, postgres (our own, from the wheel) or postgresql://… (one that exists)."""
    database_secret_file: Path | None = None
    """With postgresql://…: the administrator's password, where it does not stand in the address."""
    demo: bool = True
    """Whether a first start with empty stores loads the demonstration centre."""
    admin_email: str = "amministrazione@vicinato.example"
    """The first administrator's address, used at the very first start only."""
    sign_in_file: Path | None = None
    """{"email": …, "password": …} of the administrator as whom commands ask; without it those of
    the first start, and once they are changed a terminal is asked."""
    ready_within: Annotated[int, Field(ge=5, le=3600)] = 60
    """Seconds that a part may take until it answers."""

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not _PUBLIC_URL.fullmatch(value):
            raise ValueError("must be http://name or https://name, with nothing behind the name")
        return value

    @field_validator("admin_email")
    @classmethod
    def _is_an_email(cls, value: str) -> str:
        if not _EMAIL.fullmatch(value):
            raise ValueError("must be an e-mail address, such as name@example.org")
        return value

    @field_validator("kafka")
    @classmethod
    def _is_host_and_port(cls, value: str) -> str:
        if value and not _HOST_PORT.fullmatch(value):
            raise ValueError("must be host:port (several with commas)")
        return value

    @field_validator("database")
    @classmethod
    def _is_a_database(cls, value: str) -> str:
        if value not in ("sqlite", "postgres") and not value.startswith("postgresql://"):
            raise ValueError("must be sqlite, postgres or postgresql://…")
        if value not in ("sqlite", "postgres") and not _names_a_server(value):
            raise ValueError("must be postgresql://administrator:password@host/postgres")
        return value

    @field_validator("database_secret_file", "sign_in_file", "kafka_admin_secret_file")
    @classmethod
    def _can_be_read(cls, value: Path | None) -> Path | None:
        if value is not None and (not os.access(value, os.R_OK) or value.is_dir()):
            raise ValueError(f"no file {value} that can be read")
        return value

    @model_validator(mode="after")
    def _cluster_needs_an_administrator(self) -> Settings:
        if self.kafka and not (self.kafka_admin_user and self.kafka_admin_secret_file):
            raise ValueError(
                "KAFKA=host:port also needs KAFKA_ADMIN_USER and KAFKA_ADMIN_SECRET_FILE,"
                " to make topics, users and rights there"
            )
        return self

    @property
    def own_kafka(self) -> bool:
        return not self.kafka

    @property
    def own_postgres(self) -> bool:
        return self.database == "postgres"

    @property
    def engine(self) -> Literal["sqlite", "postgresql"]:
        return "sqlite" if self.database == "sqlite" else "postgresql"

    @property
    def address(self) -> str:
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def kafka_port(self) -> int:
        return self.port + 10

    @property
    def controller_port(self) -> int:
        return self.port + 11

    @property
    def postgres_port(self) -> int:
        return self.port + 12

    @property
    def bootstrap(self) -> str:
        return self.kafka or f"127.0.0.1:{self.kafka_port}"

    def service_port(self, service: str) -> int:
        return self.port + 1 + SERVICES.index(service)

    def ports(self) -> Iterator[tuple[str, int]]:
        """Every port that we are going to listen on, with the name of who will."""
        yield "front-door", self.port
        for service in SERVICES:
            yield service, self.service_port(service)
        if self.own_kafka:
            yield "kafka", self.kafka_port
            yield "kafka", self.controller_port
        if self.own_postgres:
            yield "postgresql", self.postgres_port


def _names_a_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname or "host=" in parts.query) and parts.port != 0
    except ValueError:  # brackets, or a port that is no number
        return False


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings, or one sentence with the name of the first that cannot be."""
    environ = os.environ if environ is None else environ
    _with_a_prefix(environ)
    names = {
        name: environ[name.upper()] for name in Settings.model_fields if name.upper() in environ
    }
    given: dict[str, Any] = {name: value for name, value in names.items() if value != ""}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else ""
        why = str(first["msg"]).removeprefix("Value error, ")
        raise CommandError(
            Exit.SETTING,
            f"{name}{': ' if name else ''}{why}.",
            f"L'impostazione {name or 'KAFKA'} non va bene; l'elenco è nel README.",
        ) from error


def _with_a_prefix(environ: Mapping[str, str]) -> None:
    """Settings that go on to the services, checked before any of them starts, and those of the same
    look that are ours. A misspelt one is worse than none: it is believed to hold."""
    for name in sorted(SET_BY_US & set(environ)):
        raise CommandError(
            Exit.SETTING,
            f"{name} is set by Vicinato itself for each service and cannot be given here.",
            f"{name} è deciso da Vicinato per ogni servizio e non si può impostare qui.",
        )
    for name in sorted(environ):
        if name.startswith(paths.PREFIX) and name not in paths.NAMES:
            near = difflib.get_close_matches(name, paths.NAMES, n=1)
            raise CommandError(
                Exit.SETTING,
                f"{name} is no setting of Vicinato{f'; did you mean {near[0]}?' if near else '.'}",
                f"{name} non è un'impostazione di Vicinato; l'elenco è nel README.",
            )
    told = {name: value for name, value in environ.items() if name.startswith("VICINATO_")}
    if not told.keys() - _NOT_THEIRS:
        return
    # In a process of its own: the services' settings need libraries that we do not keep (25 MB).
    words = [sys.executable, "-m", "vicinato.services_settings"]
    checked = subprocess.run(words, env=dict(environ), capture_output=True, text=True, check=False)
    if checked.returncode:
        why = checked.stderr.strip().splitlines()[-1]
        raise CommandError(
            Exit.SETTING,
            why if why.endswith("?") else f"{why}.",
            "Un'impostazione non va bene; l'elenco è nel README.",
        )
