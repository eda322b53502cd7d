"""What must hold before anything is started; each failure is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]

from vicinato.ports import NoAddressError, is_free
from vicinato.refusals import CommandError, Exit
from vicinato.settings import Settings


def python_version(version: Sequence[int] = sys.version_info[:2]) -> None:
    if tuple(version[:2]) < (3, 11):
        raise CommandError(
            Exit.OLD_PYTHON,
            f"Vicinato needs Python 3.11 or newer; this is {version[0]}.{version[1]}.",
            f"Vicinato richiede Python 3.11 o più recente; questo è {version[0]}.{version[1]}.",
        )


def ports_are_free(settings: Settings) -> None:
    for name, port in settings.ports():
        host = settings.bind if port == settings.port else "127.0.0.1"
        try:
            free = is_free(port, host)
        except PermissionError:
            raise CommandError(
                Exit.PORT_IN_USE,
                f"Port {port} (for {name}) may not be used by this user;"
                " choose one above 1023 with PORT=number.",
                f"Questo utente non può usare la porta {port} (per {name});"
                " se ne sceglie una sopra 1023 con PORT=numero.",
            ) from None
        except NoAddressError as error:
            raise CommandError(
                Exit.SETTING,
                f"BIND: {error}; 127.0.0.1 is this machine alone, 0.0.0.0 the local network too.",
                f"BIND: non si può ascoltare su {host}; 127.0.0.1 è solo questa macchina,"
                " 0.0.0.0 anche la rete locale.",
            ) from error
        if not free:
            raise CommandError(
                Exit.PORT_IN_USE,
                f"Port {port} (for {name}) is already in use{_by_whom(port)};"
                f" choose others with PORT=number, for example PORT={settings.port + 100}.",
                f"La porta {port} (per {name}) è già occupata{_by_whom(port)};"
                f" se ne scelgono altre con PORT=numero, per esempio PORT={settings.port + 100}.",
            )


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            at_port = connection.laddr and connection.laddr.port == port
            if at_port and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f" ({psutil.Process(connection.pid).name()}, {connection.pid})"
    except psutil.Error:  # not ours to know
        return ""
    return ""
