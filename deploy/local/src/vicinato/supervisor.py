"""Starts the whole house in order, keeps it up, stops it in the reverse order.

Order: a cluster of KAFKA is made ready before anything starts; Kafka and PostgreSQL at once; the
services when the stores have their schema (they do not wait for our Kafka: it is soft for them);
the front door with them. Stop: front door, services, Kafka, PostgreSQL, so that nobody loses what
stands below while it still needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vicinato import first_start, programs, steps
from vicinato.ask import is_served_by_kafka
from vicinato.child import Backoff, Child, NotReadyError, Program, State
from vicinato.folder import Folder
from vicinato.logs import rotate
from vicinato.programs.kafka import delete_damaged, provision
from vicinato.programs.service import store_url
from vicinato.refusals import CommandError, Exit, newer_data
from vicinato.settings import SERVICES, Settings

KEEP_FILES_EVERY = 30.0
COPY_EVERY = 60.0
TEND_EVERY = 5.0
TEND_AFTER, TEND_AT_LAST = 2, 12
"""Looks in succession at which a service is not served by Kafka, before that is tended; twice as
many each time that it did not help."""


class Supervisor:
    """Groups of children, started and stopped as wholes. `tell` hears every change of state."""

    def __init__(
        self,
        folder: Folder,
        address: str,
        tell: Callable[[Child], None] = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        self.folder = folder
        self.address = address
        self.groups: list[tuple[Child, ...]] = []
        """In the order of stopping: the last started first."""
        self.began = time.time()
        self.outbox_copy: dict[str, object] = {}
        """When the second copy of the outboxes was made last, and why it failed since."""
        self._tell = tell
        self._backoff = backoff
        self._state_is_owed = False

    @property
    def children(self) -> list[Child]:
        return [child for group in reversed(self.groups) for child in group]

    def start(self, *group: Program) -> list[Child]:
        children = tuple(Child(program, self._heard, self._backoff) for program in group)
        self.groups.insert(0, children)
        for child in children:
            child.start()
        return list(children)

    async def stop(self) -> None:
        for group in self.groups:
            await asyncio.gather(*(child.stop() for child in group))
        with contextlib.suppress(OSError):  # a disk that became read-only
            self.folder.state_file.unlink(missing_ok=True)

    def kill(self) -> None:
        for child in self.children:
            child.kill()

    async def keep_files(self) -> None:
        """Logs stay small, and a state that is owed is written; what the disk has no room for now
        waits for the next time. For ever."""
        while True:
            for child in self.children:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(rotate, child.program.log)
            if self._state_is_owed:
                self.write_state()
            await asyncio.sleep(KEEP_FILES_EVERY)

    def _heard(self, child: Child) -> None:
        self.write_state()
        self._tell(child)

    def write_state(self) -> None:
        """For `vicinato status`; written whole or not at all. Where it cannot be, on a full disk,
        the house goes on and owes it."""
        state = {
            "pid": os.getpid(),
            "began": self.began,
            "address": self.address,
            "outbox_copy": self.outbox_copy,
            "children": [
                {
                    "name": child.name,
                    "pid": child.pid,
                    "born": child.born,
                    "port": child.program.port,
                    "state": child.state,
                    "restarts": child.restarts,
                    "reason": child.reason,
                }
                for child in self.children
            ],
        }
        draft = self.folder.state_file.with_suffix(".draft")
        try:
            draft.write_text(json.dumps(state), encoding="utf-8")
            draft.replace(self.folder.state_file)
        except OSError:
            self._state_is_owed = True
        else:
            self._state_is_owed = False


class House:
    """The parts of Vicinato on this machine, for one run."""

    def __init__(self, settings: Settings, folder: Folder, tell: Callable[[Child], None]) -> None:
        self.settings = settings
        self.folder = folder
        self.supervisor = Supervisor(folder, settings.address, tell)

    async def open(self) -> None:
        """Returns when every part is ready. Raises CommandError when one is not in time, or is
        another installation's."""
        settings, folder = self.settings, self.folder
        below: list[Program] = []
        if settings.own_kafka:
            below.append(programs.kafka(settings, folder))
        else:
            await self._foreign_cluster()
        if settings.own_postgres:
            below.append(programs.postgresql(settings, folder))
        started = self.supervisor.start(*below)
        try:
            first_start.decide(settings, folder, fresh=await self._stores())
            above = [programs.service(name, settings, folder) for name in SERVICES]
            started += self.supervisor.start(*above)
            started += self.supervisor.start(programs.front_door(settings, folder))
            await self._all_ready(started)
        except CommandError:
            await self.supervisor.stop()
            raise

    async def keep_a_copy(self, to: Path, say: Callable[[str, str], None]) -> None:
        """Every minute what is new in the outboxes goes to another disk; for ever. What is there
        already is looked through until that has succeeded once."""
        folder, supervisor = self.folder, self.supervisor
        order = {
            "to": str(to),
            "data": str(folder.root),
            "installation": folder.installation(),
            "urls": {name: store_url(name, self.settings, folder) for name in SERVICES},
            "mend": True,
        }
        told = ""
        while True:
            try:
                done = await steps.run("copy_outboxes", order, folder.log("supervisor"), 600.0)
                failed = str(done["failed"])
            except steps.StepError as error:
                failed = str(error)
            order["mend"] = order["mend"] and bool(failed)
            at = supervisor.outbox_copy.get("at") if failed else time.time()
            supervisor.outbox_copy = {"to": str(to), "at": at, "failed": failed}
            supervisor.write_state()
            if failed != told:
                told = failed
                good = f"the second copy of the outboxes is made again in {to}"
                bad = f"the second copy of the outboxes is NOT made: {failed}"
                say(bad if failed else good, "bold red" if failed else "green")
            await asyncio.sleep(COPY_EVERY)

    async def tend_kafka(self, say: Callable[[str, str], None]) -> None:
        """Where a service is not served by a Kafka that is up, `topics.toml` is applied again: a
        topic, a right or a user may have been taken away, or a setting changed. Where all is as it
        says, our own is looked through for what a disk has damaged. For ever."""
        off, patience, told = 0, TEND_AFTER, ""
        while True:
            await asyncio.sleep(TEND_EVERY)
            if await asyncio.to_thread(self._all_served_by_kafka):
                off, patience = 0, TEND_AFTER
                continue
            off += 1
            if off < patience:
                continue
            off, patience = 0, min(2 * patience, TEND_AT_LAST)
            try:
                found = await provision(self.settings, self.folder)
                damaged = "" if found else await self._made_anew()
            except (NotReadyError, CommandError, OSError) as error:
                if (failed := str(error)) != told:
                    say(f"Kafka could not be looked at: {failed}", "bold red")
                told = failed
            else:
                told = ""
                if found:
                    say(f"Kafka is as topics.toml says again: {found}", "yellow")
                if damaged:
                    say(
                        f"Damaged on Kafka's disk, made anew to be filled again: {damaged}",
                        "bold red",
                    )

    async def _made_anew(self) -> str:
        """What was damaged of our own. Not while a restore takes back what perhaps only the bus
        has."""
        if not self.settings.own_kafka or self.folder.restore.exists():
            return ""
        if damaged := await delete_damaged(self.settings, self.folder):
            await provision(self.settings, self.folder)
        return damaged

    def _all_served_by_kafka(self) -> bool:
        """Whether all services that answer are; also while ours starts, which ends with what would
        be done."""
        states = {child.name: child.state for child in self.supervisor.children}
        if states.get("kafka", State.READY) is not State.READY:
            return True
        ready = [name for name in SERVICES if states.get(name) is State.READY]
        return all(is_served_by_kafka(self.settings.service_port(name)) for name in ready)

    async def _stores(self) -> bool:
        settings, folder = self.settings, self.folder
        urls = {name: store_url(name, settings, folder) for name in SERVICES}
        server = ""
        if settings.engine == "postgresql":
            server = programs.server_url(settings, folder.secrets)
        order = {"server": server, "urls": urls}
        try:
            done = await steps.run("stores", order, folder.log("supervisor"), within=600.0)
        except steps.StepError as error:
            if error.kind == "NewerDataError":
                raise newer_data(str(error)) from error
            raise CommandError(
                Exit.MIGRATION if settings.engine == "sqlite" else Exit.DATABASE,
                f"The databases could not be made ready: {error}",
                f"Le basi di dati non sono pronte; i dettagli sono in {folder.log('supervisor')}.",
            ) from error
        return bool(done["fresh"])

    async def _all_ready(self, children: Sequence[Child]) -> None:
        waits = [asyncio.create_task(child.ready()) for child in children]
        try:
            async with asyncio.timeout(self.settings.ready_within):
                await asyncio.gather(*waits)
        except TimeoutError as error:
            late = [child for child in children if child.state is not State.READY]
            names = ", ".join(child.name for child in late)
            raise self._late(names, "; ".join(c.reason for c in late if c.reason)) from error
        finally:
            for wait in waits:
                wait.cancel()

    async def _foreign_cluster(self) -> None:
        """Topics, users and rights on the cluster named by KAFKA, tried until it answers; before
        anything is started, for it may be another installation's. Raises CommandError."""
        why = "no answer yet"
        try:
            async with asyncio.timeout(self.settings.ready_within):
                while True:
                    try:
                        await provision(self.settings, self.folder)
                        return
                    except NotReadyError as error:
                        why = str(error)
                    await asyncio.sleep(1.0)
        except TimeoutError as error:
            raise self._late("kafka", why) from error

    def _late(self, names: str, why: str) -> CommandError:
        within, logs = self.settings.ready_within, self.folder.logs
        return CommandError(
            Exit.KAFKA if names == "kafka" else Exit.NOT_READY,
            f"Not ready within {within} s: {names} ({why}). Look into {logs}.",
            f"Non pronti entro {within} s: {names}. I dettagli sono in {logs}.",
        )
