"""Why Vicinato does not start: one clear sentence in two languages, and an exit code of its own.

The exit codes are stable; scripts may rely on them. 1 stays for what nobody foresaw, 2 for a
command line or a setting that cannot be.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    SETTING = 2
    NOT_RUNNING = 3
    SECOND_COPY = 10
    FOREIGN_FOLDER = 11
    READ_ONLY_FOLDER = 12
    PORT_IN_USE = 13
    OLD_PYTHON = 14
    NO_NETWORK = 15
    NEWER_DATA = 16
    DATABASE = 17
    KAFKA = 18
    MIGRATION = 19
    NOT_READY = 20
    REFUSED = 21
    BAD_BACKUP = 22
    OTHER_INSTALLATION = 23
    NO_SPACE = 24
    DAMAGED_STORE = 25
    BROKEN_OFF = 130


class CommandError(Exception):
    """Ends the command line with `code`; shown as it is, without a traceback."""

    def __init__(self, code: Exit, english: str, italian: str) -> None:
        super().__init__(english)
        self.code = code
        self.english = english
        self.italian = italian


def newer_data(why: str) -> CommandError:
    """A store was written by a newer version; nothing was changed."""
    return CommandError(
        Exit.NEWER_DATA,
        f"{why[:1].upper()}{why[1:]}.",
        "I dati sono di una versione più nuova di Vicinato: va aggiornato.",
    )


def others_kafka(bootstrap: str, why: str) -> CommandError:
    """The cluster of KAFKA belongs to another installation; nothing was changed there."""
    return CommandError(
        Exit.OTHER_INSTALLATION,
        f"The Kafka at {bootstrap} is another installation's: {why}. Nothing was changed there."
        " Name another with KAFKA=host:port, or, if the other installation has ended for good, take"
        " it over with `vicinato provision --take-over` (docs/runbooks/another-cluster.md).",
        f"Il Kafka {bootstrap} è di un'altra installazione di Vicinato; lì non è stato cambiato"
        " nulla. Se ne può indicare un altro con KAFKA=host:port oppure, se l'altra installazione"
        " è finita per sempre, prenderlo in carico con `vicinato provision --take-over`.",
    )
