"""What may be said to `make chaos`, checked before anything starts."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from chaos.plan import KINDS, POSTGRES, unknown_kinds
from vicinato.programs.postgresql import tool


class OptionError(Exception):
    """One sentence: which option, and what it may be."""


@dataclass(frozen=True)
class Options:
    """`rate` is requests a second; `kinds` empty means all that the engine has."""

    seed: int
    minutes: float
    faults: int
    database: str
    rate: float
    kinds: tuple[str, ...]


def read(environ: Mapping[str, str]) -> Options:
    """The options of an environment. Raises OptionError."""
    database = environ.get("DATABASE") or "sqlite"
    if database not in ("sqlite", "postgres"):
        raise OptionError(f"DATABASE must be sqlite or postgres, not {database!r}.")
    kinds = tuple(one.strip() for one in environ.get("KINDS", "").split(",") if one.strip())
    if unknown := unknown_kinds(kinds, database):
        raise OptionError(
            f"KINDS: there is no fault {', '.join(unknown)} on {database};"
            f" there are {', '.join(k.name for k in KINDS if database in k.engines)}."
        )
    return Options(
        seed=_number(environ, "SEED", secrets.randbelow(10**6), 0, 2**63, whole=True),
        minutes=_number(environ, "MINUTES", 20.0, 0.5, 24 * 60.0),
        faults=_number(environ, "FAULTS", 200, 1, 100_000, whole=True),
        database=database,
        rate=_number(environ, "RATE", 12.0, 0.1, 500.0),
        kinds=kinds,
    )


def require_engine(options: Options) -> None:
    """Raises OptionError when the engine that was asked for is not on this machine."""
    if options.database != POSTGRES:
        return
    try:
        subprocess.run([tool("postgres"), "--version"], capture_output=True, check=True)
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        raise OptionError(
            f"DATABASE=postgres: there is no PostgreSQL that runs on this machine"
            f" ({type(error).__name__}). Run `make install`, or leave DATABASE out for SQLite."
        ) from error


def _number(  # type: ignore[no-untyped-def]
    environ: Mapping[str, str], name: str, default, least, most, *, whole: bool = False
):
    """A number between two bounds. Raises OptionError with its name."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise OptionError(f"{name} must be {kind}, not {text!r}.") from None
    if not least <= value <= most:
        raise OptionError(f"{name} must be from {least:g} to {most:g}, not {text}.")
    return value
