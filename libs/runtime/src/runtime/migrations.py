"""The schema of a service moves by Alembic revisions that its package carries.

A service has a folder `<package>/migrations/versions` and nothing else of Alembic: the environment
is here, one for all. A change of schema happens whole or not at all (on SQLite too), and two
processes that start at once take turns.

`python -m runtime.migrations new cards "holds have a reason"` writes the next revision of a
service; read it before it is committed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.resources
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic import autogenerate, command
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from runtime import types
from runtime.store import migration_engine

_TURN = 0x56494349  # "VICI": the advisory lock of migrations on PostgreSQL
_ONE_AT_A_TIME = threading.RLock()  # Alembic keeps the running environment in globals


class MigrationError(Exception):
    """The schema cannot be brought where it should be; the message is one sentence."""


class NewerDataError(MigrationError):
    """The data was written by a newer version; nothing was changed."""


def _render(kind: str, item: object, context: AutogenContext) -> str | Literal[False]:
    """Our own types by their short names."""
    if kind == "type" and type(item).__module__ == types.__name__:
        context.imports.add(f"from runtime.types import {type(item).__name__}")
        return f"{type(item).__name__}()"
    return False


OPTIONS: dict[str, Any] = {
    "render_as_batch": True,
    "compare_type": True,
    "transactional_ddl": True,
    "render_item": _render,
}


def upgrade(
    url: str, package: str, metadata: sa.MetaData | None = None, revision: str = "head"
) -> None:
    """Bring the database at `url` to `revision`. Raises MigrationError for newer data."""
    with _connected(url, package, metadata) as config:
        command.upgrade(config, revision)


def downgrade(
    url: str, package: str, metadata: sa.MetaData | None = None, revision: str = "base"
) -> None:
    """Bring the database at `url` back to `revision`."""
    with _connected(url, package, metadata) as config:
        command.downgrade(config, revision)


def current(url: str) -> str | None:
    """The revision that the database is at; None for an empty one."""
    engine = migration_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def heads(package: str) -> Sequence[str]:
    """The newest revisions that the package carries; more than one is a mistake."""
    return ScriptDirectory.from_config(_config(package)).get_heads()


def check(url: str, package: str) -> None:
    """Raises MigrationError unless the database is exactly at the newest revision."""
    at = current(url)
    wanted = list(heads(package))
    _known(at, package)
    if [at] != wanted:
        raise MigrationError(
            f"the data of {package} is at revision {at or 'none'}, this program needs "
            f"{', '.join(wanted)}: migrate first"
        )


def difference(url: str, package: str, metadata: sa.MetaData) -> list[Any]:
    """What Alembic would still change so that the database is as `metadata` says; empty is good."""
    engine = migration_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "target_metadata": metadata}
            )
            return list(autogenerate.compare_metadata(context, metadata))
    finally:
        engine.dispose()


def create_revision(package: str, metadata: sa.MetaData, message: str, url: str = "") -> Path:
    """Write the next revision of a package: what `metadata` has and its revisions have not.

    Without a `url` the revisions there are applied to a throw-away SQLite file and compared.
    """
    with contextlib.ExitStack() as stack:
        if not url:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{folder}/compared.db"
        versions(package).mkdir(parents=True, exist_ok=True)
        upgrade(url, package, metadata)
        number = len(list(ScriptDirectory.from_config(_config(package)).walk_revisions())) + 1
        with _connected(url, package, metadata) as config:
            made = command.revision(
                config, message=message, autogenerate=True, rev_id=f"{number:04d}"
            )
    assert made is not None
    assert not isinstance(made, list)
    return Path(made.path)


def versions(package: str) -> Path:
    """The folder of a package's revisions."""
    root = importlib.resources.files(package)
    return Path(str(root)) / "migrations" / "versions"


def _config(package: str) -> Config:
    config = Config()
    environment = Path(__file__).parent / "alembic_environment"
    for option, value in {
        "script_location": str(environment),
        "version_locations": str(versions(package)),
        "path_separator": "newline",
        "file_template": "%(rev)s_%(slug)s",
    }.items():
        config.set_main_option(option, value.replace("%", "%%"))
    return config


@contextlib.contextmanager
def _connected(url: str, package: str, metadata: sa.MetaData | None) -> Iterator[Config]:
    """A configuration with a connection in one transaction, taken by one process at a time."""
    _known(current(url), package)
    engine = migration_engine(url)
    config = _config(package)
    try:
        with _ONE_AT_A_TIME, engine.connect() as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
            config.attributes["connection"] = connection
            config.attributes["metadata"] = metadata
            yield config
            if connection.dialect.name == "sqlite":
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if broken:
                    raise MigrationError(f"the migration of {package} breaks references")
    except CommandError as error:
        raise MigrationError(f"the schema of {package} cannot be changed: {error}") from error
    finally:
        engine.dispose()


def knows(revision: str, package: str) -> bool:
    """Whether the package carries this revision: data at another one are of a newer version."""
    try:
        return ScriptDirectory.from_config(_config(package)).get_revision(revision) is not None
    except CommandError:
        return False


def _known(revision: str | None, package: str) -> None:
    if revision is not None and not knows(revision, package):
        raise NewerDataError(
            f"the data of {package} was written by a newer version (revision {revision}, unknown "
            "here): install that version, or put back a backup made before it"
        )


def main(arguments: Sequence[str]) -> int:
    """`new SERVICE MESSAGE` for a service that is installed."""
    if len(arguments) != 3 or arguments[0] != "new":
        sys.stderr.write('usage: python -m runtime.migrations new SERVICE "MESSAGE"\n')
        return 2
    _, name, message = arguments
    found = [
        one
        for one in entry_points(group="vicinato.services")
        if name in (one.name, one.value.partition(".")[0])
    ]
    if not found:
        sys.stderr.write(f"there is no service {name}\n")
        return 2
    service = found[0].load()
    path = create_revision(service.package, service.metadata, message)
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
