"""The data folder: ours, writable, and used by one supervisor at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from vicinato.refusals import CommandError, Exit
from vicinato.secrets import Secrets, write_private

FORMAT = 1
MARKER = "vicinato.json"


class Folder:
    """Where everything of one installation lies; nothing is kept outside of it but fetched jars."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "run"
        self.logs = root / "logs"
        self.stores = root / "stores"
        self.kafka = root / "kafka"
        self.postgres = root / "postgresql"
        self.restore = root / "restore"
        self.aside = root / "aside"
        self.front_door = root / "front-door"
        self.first_start = root / "first-start.json"

    @property
    def secrets(self) -> Secrets:
        """Made in a data folder; a container has those that were put into it."""
        return Secrets(self.root / "secrets", makes=self.is_ours())

    @property
    def kafka_secrets(self) -> Secrets:
        return Secrets(self.root / "secrets" / "kafka", makes=self.is_ours())

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    def service(self, name: str) -> Path:
        """What a service keeps besides its store."""
        return self.root / "services" / name

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def open(self) -> None:
        """Makes the folder, or checks that it is one of ours and can be written."""
        if self.root.exists() and not self.root.is_dir():
            raise _foreign(self.root)
        marker = self.root / MARKER
        try:
            if not self.is_ours():
                if self.root.is_dir() and any(self.root.iterdir()):
                    raise _foreign(self.root)
                self.root.mkdir(parents=True, exist_ok=True)
                self._write_marker(str(uuid.uuid4()), str(uuid.uuid4()))
            self._check_format(marker)
            if not self.installation():
                self._write_marker(str(uuid.uuid4()), self.machine())
            for folder in (self.run, self.logs, self.stores, self.front_door):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
            probe = self.run / ".writable"
            probe.write_text("", encoding="utf-8")
            probe.unlink()
        except OSError as error:
            raise CommandError(
                Exit.READ_ONLY_FOLDER,
                f"The data folder {self.root} cannot be written ({error.strerror});"
                " choose another with DATA=folder.",
                f"Non si può scrivere nella cartella dei dati {self.root};"
                " se ne può scegliere un'altra con DATA=cartella.",
            ) from error

    def is_ours(self) -> bool:
        """Whether it was opened before."""
        return (self.root / MARKER).exists()

    def expect(self, *, or_secrets: bool) -> None:
        """For who makes nothing here: raises CommandError unless it is a data folder of ours, or,
        with `or_secrets`, has the secrets of one, as a container does."""
        if self.is_ours() or (or_secrets and (self.root / "secrets").is_dir()):
            return
        raise CommandError(
            Exit.NOT_RUNNING,
            f"There is no data folder of Vicinato in {self.root}: `make up` makes it, and"
            " DATA=folder names another one. Nothing was touched.",
            f"In {self.root} non c'è una cartella di dati di Vicinato: la crea `make up`, e"
            " DATA=cartella ne indica un'altra. Non è stato toccato nulla.",
        )

    def is_used(self) -> bool:
        """Whether anything was ever kept here."""
        return self.first_start.exists() or any(self.stores.glob("*.db"))

    def expect_stores(self, engine: str) -> None:
        """The stores of a folder that was used are those of `engine`. On the others an empty house
        would open, and tell the bus of the real one. Raises CommandError."""
        files = any(self.stores.glob("*.db"))
        if engine == "sqlite" and self.first_start.exists() and not files:
            raise CommandError(
                Exit.SETTING,
                f"There are no SQLite stores in {self.stores}, and this folder was used before:"
                " give DATABASE as it was then (DATABASE=postgres?). If they are lost, `vicinato"
                " restore` puts a backup back. Nothing was changed.",
                f"In {self.stores} non ci sono archivi SQLite, e questa cartella era già in uso:"
                " indicare DATABASE come allora (DATABASE=postgres?). Se sono perduti, `vicinato"
                " restore` rimette una copia. Non è stato cambiato nulla.",
            )
        if engine == "postgresql" and files and not self.postgres.exists():
            raise CommandError(
                Exit.SETTING,
                f"The stores of this folder are the SQLite files in {self.stores}: leave DATABASE"
                " out, or name an empty folder with DATA=folder. Nothing was changed.",
                f"Gli archivi di questa cartella sono i file SQLite in {self.stores}: togliere"
                " DATABASE, o indicare una cartella vuota con DATA=cartella. Non è stato cambiato"
                " nulla.",
            )

    def installation(self) -> str:
        """The id of this installation, made at the first start; "" when there is none yet."""
        return self._marked("installation")

    def machine(self) -> str:
        """Whose secrets lie here: the folder's own id, or of the one that they came from with a
        backup. "" in a folder of earlier versions, as in their backups."""
        return self._marked("machine")

    def become(self, installation: str, machine: str) -> None:
        """A new folder takes an installation over, with its backup."""
        self._write_marker(installation, machine)

    def _marked(self, name: str) -> str:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = json.loads((self.root / MARKER).read_text(encoding="utf-8"))
            return str(found.get(name, ""))
        return ""

    def _write_marker(self, installation: str, machine: str) -> None:
        told = {"format": FORMAT, "installation": installation, "machine": machine}
        write_private(self.root / MARKER, json.dumps(told) + "\n")

    def _check_format(self, marker: Path) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))["format"]
            newer = int(found) > FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise _foreign(self.root) from error
        if newer:
            raise CommandError(
                Exit.NEWER_DATA,
                f"The data in {self.root} was written by a newer Vicinato (format {found}, this one"
                f" knows {FORMAT}); update Vicinato.",
                f"I dati in {self.root} sono di una versione più nuova di Vicinato: va aggiornato.",
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder against a second copy; the kernel frees it when we die."""
        with (self.run / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CommandError(
                    Exit.SECOND_COPY,
                    f"Vicinato is already running on {self.root} (process {self.holder()});"
                    " `make stop` ends it.",
                    f"Vicinato è già in funzione su {self.root} (processo {self.holder()});"
                    " `make stop` lo ferma.",
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def is_locked(self) -> bool:
        """Whether a supervisor or a restore is at work here. Raises PermissionError where this user
        cannot know."""
        try:
            with (self.run / "lock").open("r", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except BlockingIOError:
            return True
        return False

    def holder(self) -> int:
        """The process that holds the folder, 0 when nobody can be named."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.run / "lock").read_text(encoding="utf-8"))
        return 0

    def read_state(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.state_file.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    def end_leftovers(self) -> None:
        """Ends what a killed supervisor left behind, known by process id and moment of birth."""
        children = self.read_state().get("children", [])
        left = []
        for child in children if isinstance(children, list) else []:
            with contextlib.suppress(psutil.Error, KeyError, TypeError):
                process = psutil.Process(child["pid"])
                if abs(process.create_time() - child["born"]) < 1.0:
                    process.kill()
                    left.append(process)
        psutil.wait_procs(left, timeout=10)
        self.state_file.unlink(missing_ok=True)


def _foreign(root: Path) -> CommandError:
    return CommandError(
        Exit.FOREIGN_FOLDER,
        f"{root} is not a data folder of Vicinato and not empty; nothing was touched."
        " Choose another with DATA=folder.",
        f"{root} non è una cartella di dati di Vicinato e non è vuota; non è stato toccato nulla."
        " Se ne può scegliere un'altra con DATA=cartella.",
    )
