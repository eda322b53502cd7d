"""Settings come from the environment, by names that begin with VICINATO_.

A wrong value, and a name that nobody knows (a typo), are refused at the start by name. A service
that needs more subclasses `Settings`; its own names begin with the service's
(`VICINATO_IDENTITY_...`), and the other services pass them over.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, overload

import sqlalchemy as sa
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from runtime.clock import Clock, PlayedClock, SteadyClock
from runtime.store import database_address

PREFIX = "VICINATO_"
NOT_OURS = (f"{PREFIX}UP_", f"{PREFIX}NO_SKIPS")
"""Names of what starts the services (VICINATO_UP_...) and of test runs; services pass them over."""


class SettingsError(Exception):
    """A setting is missing, wrong or unknown. The message is one sentence that names it."""


def _database(url: str) -> str:
    database_address(url)
    return url


def _address(text: str) -> str:
    for one in filter(None, text.split(",")):
        host, _, port = one.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("it must be host:port")
    return text


def _readable(path: Path | None) -> Path | None:
    if path is not None and not os.access(path, os.R_OK):
        raise ValueError(f"the file {path} cannot be read")
    return path


def _networks(text: str) -> str:
    for one in text.split(","):
        try:
            ip_network(one.strip())
        except ValueError:
            raise ValueError("it must be addresses or networks, such as 10.0.0.0/24") from None
    return text


Address = Annotated[str, AfterValidator(_address)]
SecretFile = Annotated[Path | None, AfterValidator(_readable)]
"""The path of a file that holds one secret; its content never stands in the environment."""


class Settings(BaseSettings):
    """What every service may be told. Made directly (in tests) it does not look around itself."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    service: str = Field(description="name of the service; given by what starts it")
    database_url: Annotated[str, AfterValidator(_database)] = Field(
        description="its own database: sqlite:////folder/file.db or postgresql://role@host/name"
    )
    database_secret_file: SecretFile = Field(
        None, description="file with the password of the role; empty: it stands in the address"
    )
    kafka: Address = Field(
        "", description="host:port of the bus; empty: it is away, work goes on, the outbox fills"
    )
    kafka_user: str = Field("", description="SCRAM user on the bus; empty: no sign-in")
    kafka_secret_file: SecretFile = Field(None, description="file with the password of that user")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any that is free")
    public_url: str = Field(
        "http://localhost:8080", pattern=r"^https?://[^/\s]+$", description="how browsers reach it"
    )
    requests_per_second: int = Field(
        50, ge=0, description="how fast one sign-in may ask a service on and on; 0: no limit"
    )
    front_door: Annotated[str, AfterValidator(_networks)] = Field(
        "127.0.0.1,::1", description="where the front door calls from; only it is believed who asks"
    )
    data: Path = Field(Path("data"), description="folder for files that the service keeps")
    clock_file: Path | None = Field(
        None, description="file with an offset in seconds, to play a day; empty: the real time"
    )
    otlp_endpoint: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="OTLP over HTTP for traces; empty: none"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="what is logged at least"
    )
    log_format: Literal["json", "text"] = Field("json", description="how log lines look")
    smtp_host: str = Field("", description="mail server; empty: no e-mail is sent")
    smtp_port: int = Field(
        587, ge=1, le=65535, description="port of the mail server; 465: TLS from the first byte"
    )
    smtp_sender: str = Field("", description="sender address of e-mails")
    smtp_user: str = Field("", description="user on the mail server; empty: no sign-in")
    smtp_secret_file: SecretFile = Field(None, description="file with the password of that user")
    smtp_starttls: bool = Field(True, description="whether the mail server must speak TLS")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    def clock(self) -> Clock:
        """The clock that these settings name."""
        steady = SteadyClock()
        return steady if self.clock_file is None else PlayedClock(self.clock_file, under=steady)


S = TypeVar("S", bound=Settings)


@overload
def load(service: str, environ: Mapping[str, str] | None = None) -> Settings: ...
@overload
def load(service: str, environ: Mapping[str, str] | None = None, *, model: type[S]) -> S: ...
def load(
    service: str,
    environ: Mapping[str, str] | None = None,
    *,
    model: type[Settings] = Settings,
) -> Settings:
    """The settings of a service from its environment. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    _refuse_unknown(service, environ, model)
    source = EnvSettingsSource(model, env_ignore_empty=True)
    source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    try:
        made = model(**{**source(), "service": service})
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(one) for one in error.errors())) from None
    return _with_database_secret(made)


def _with_database_secret(settings: S) -> S:
    if settings.database_secret_file is None:
        return settings
    password = secret(settings.database_secret_file, "database_secret_file")
    url = sa.make_url(settings.database_url).set(password=password)
    return settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})


def secret(path: Path | None, setting: str) -> str:
    """The secret in a file, without the line end; "" for no file. Raises SettingsError."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{PREFIX}{setting.upper()}: {path} cannot be read") from None


class Row(NamedTuple):
    """One line of the table of settings."""

    name: str
    type: str
    default: str
    meaning: str


def settings_table(model: type[Settings] = Settings) -> list[Row]:
    """Every setting, for the README; a test compares them."""
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else str(_shown(field.default))
        rows.append(
            Row(PREFIX + name.upper(), _kind(field.annotation), default, field.description or "")
        )
    return rows


def _shown(default: Any) -> Any:
    return "" if default is None else str(default).lower() if default is True else default


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if inner:
        return _kind(inner[0])
    return {str: "text", int: "number", bool: "true or false", Path: "path"}.get(
        annotation, str(annotation)
    )


def _refuse_unknown(service: str, environ: Mapping[str, str], model: type[Settings]) -> None:
    known = {PREFIX + name.upper() for name in model.model_fields}
    others = tuple(
        f"{PREFIX}{one.name.upper()}_"
        for one in entry_points(group="vicinato.services")
        if one.name != service
    )
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or name.startswith(NOT_OURS + others):
            continue
        # Without what they all begin with, by which each looks like any other.
        short = {one.removeprefix(PREFIX) for one in known}
        near = difflib.get_close_matches(name.removeprefix(PREFIX), short, n=1)
        hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
        raise SettingsError(f"{name} is no setting of {service}{hint}")


def _sentence(error: Any) -> str:
    """One sentence without the value, which may hold a password."""
    name = PREFIX + str(error["loc"][0]).upper() if error["loc"] else "the settings"
    if error["type"] == "missing":
        return f"{name} is missing"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{name} is wrong: {said[:1].lower()}{said[1:]}"
