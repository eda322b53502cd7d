"""`vicinato up` and `vicinato stop`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from vicinato import checks, first_start, settings, steps
from vicinato.backup import aside
from vicinato.child import Child, State
from vicinato.folder import Folder
from vicinato.kafka.jars import JarError, fetch
from vicinato.paths import outbox_copy
from vicinato.refusals import CommandError, Exit
from vicinato.supervisor import House

RESTORED_WITHIN = 24 * 3600.0
A_DAY = 24 * 3600.0
COLOURS = {State.READY: "green", State.BACKING_OFF: "bold red", State.STOPPED: "dim"}


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(stop)


def up() -> None:
    """Start everything and keep it up, until Ctrl-C or SIGTERM.

    Settings come from the environment: PORT, BIND, PUBLIC_URL, DATA, KAFKA, DATABASE, DEMO and the
    others of the README's table. The first start makes the data folder, its secrets and an
    administrator, and loads the demonstration centre.
    """
    began = time.monotonic()
    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.open()
    with folder.locked():
        folder.end_leftovers()
        checks.ports_are_free(wanted)
        fetch_jars(wanted)
        if folder.restore.exists():
            from vicinato.backup.put_back import go_on

            asyncio.run(go_on(wanted, folder))
        folder.expect_stores(wanted.engine)
        first_start.administrator(wanted, folder)
        log = folder.log("supervisor").open("a", encoding="utf-8")
        try:
            asyncio.run(_run(wanted, folder, Screen(log, began)))
        finally:
            with contextlib.suppress(OSError):  # its last lines, on a full disk
                log.close()


def stop() -> None:
    """Stop the copy that runs on DATA, in order, and wait until it is gone."""
    folder = Folder(settings.load().data)
    if not folder.is_locked():
        raise not_running(folder)
    deadline = time.monotonic() + 120
    told = False
    while folder.is_locked():
        if not told and (holder := folder.holder()):  # 0, as yet unnamed, would be all of us
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGTERM)
            told = True
        if time.monotonic() > deadline:
            raise CommandError(
                Exit.NOT_READY,
                f"Vicinato (process {folder.holder()}) does not stop; see {folder.logs}.",
                f"Vicinato (processo {folder.holder()}) non si ferma; i dettagli in {folder.logs}.",
            )
        time.sleep(0.1)
    print("Vicinato has stopped.")


def not_running(folder: Folder) -> CommandError:
    return CommandError(
        Exit.NOT_RUNNING,
        f"Vicinato is not running on {folder.root}.",
        f"Vicinato non è in funzione su {folder.root}.",
    )


def fetch_jars(wanted: settings.Settings) -> None:
    """Kafka's jars are on this machine. Raises CommandError when they cannot be fetched."""
    if not wanted.own_kafka:
        return
    try:
        fetch()
    except JarError as error:
        raise CommandError(
            Exit.NO_NETWORK,
            f"Kafka is not on this machine yet and cannot be fetched: {error}"
            " The first start needs a network.",
            "Kafka non è ancora su questa macchina e non si riesce a scaricarlo:"
            " al primo avvio serve la rete.",
        ) from error


class Terminal(Console):
    """Where people look, as long as somebody does."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Who read is gone (`make up | tee`): that does not end the house, as Rich would."""
        self.quiet = True


class Screen:
    """Shows states as they change, on the terminal and in `logs/supervisor.log`.

    What cannot be written, on a full disk, ends nothing: of the log some lines wait in its buffer
    for the next one, of the terminal they are gone.
    """

    def __init__(self, log: TextIO, began: float = 0.0) -> None:
        self.terminal = Terminal()
        self.log = log
        self.began = began
        self.took = 0.0
        self._shown: dict[str, tuple[State, str]] = {}

    def __call__(self, child: Child) -> None:
        now = (child.state, child.reason if child.state is State.BACKING_OFF else "")
        if self._shown.get(child.name) == now:
            return
        self._shown[child.name] = now
        said = f"{child.name:<14} {child.state:<11} {self._detail(child)}".rstrip()
        self.say(said, COLOURS.get(child.state, "") if child.state in COLOURS else None)

    def say(self, text: str, style: str | None = "") -> None:
        """To the log, and to the terminal unless `style` is None."""
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError):
            self.log.write(f"{now} {text}\n")
            self.log.flush()
        if style is not None:
            self._show(f"  {text}", style=style, markup=False)

    def _show(self, what: RenderableType, style: str | None = None, *, markup: bool = True) -> None:
        try:
            self.terminal.print(what, style=style, markup=markup)
        except OSError:
            self.terminal = Terminal()  # the other one would show it again

    def _detail(self, child: Child) -> str:
        if child.state is State.READY:
            return f"{child.took:.1f} s"
        return child.reason

    def ready(self) -> None:
        self.took = time.monotonic() - self.began

    def opened(self, wanted: settings.Settings, folder: Folder) -> None:
        self._show(
            f"\nVicinato is open at [bold]{wanted.address}[/bold]"
            f" (ready in {self.took:.1f} s; data in {folder.root})"
        )

    def sign_ins(self, known: Sequence[dict[str, str]], holding: Sequence[bool]) -> None:
        """Who can sign in. A password that was changed since is not shown."""
        table = Table(box=None, pad_edge=False)
        for heading in ("who", "e-mail", "password"):
            table.add_column(heading)
        for one, holds in zip(known, holding, strict=True):
            password = one["password"] if holds else "(changed since it was made)"
            table.add_row(one["role"], one["email"], password)
        self._show(table)
        self._show("Ctrl-C stops it. `vicinato status` in another window shows its parts.\n")


async def _show_sign_ins(wanted: settings.Settings, folder: Folder, screen: Screen) -> None:
    try:
        known = first_start.sign_ins(wanted, folder)
        holding = await first_start.holding(wanted, folder)
    except (steps.StepError, OSError) as error:
        why = "Which passwords hold could not be looked at"
        screen.say(f"{why}: {error}; those made here lie in {folder.secrets.folder}", "bold red")
        return
    screen.sign_ins(known, holding)


async def _finish_restore(folder: Folder, screen: Screen) -> None:
    """A restore that was broken off goes on: until it has ended its services answer 503."""
    if not (folder.restore / "journal.json").exists():
        return
    screen.say("going on with the restore ...")
    try:
        done = await steps.run("finish_restore", {}, folder.log("supervisor"), RESTORED_WITHIN)
    except steps.StepError as error:
        screen.say(f"The restore did not end: {error}", "bold red")
        return
    for line in done["lines"]:
        screen.say(line, "" if done["holds"] else "yellow")


async def _forget_aside(folder: Folder, screen: Screen) -> None:
    """Once a day: what a restore put aside long ago goes."""
    while True:
        if stamps := aside.old(folder, datetime.now(UTC)):
            try:
                await steps.run("forget_aside", {"stamps": stamps}, folder.log("supervisor"))
                screen.say(f"old stores aside are deleted: {', '.join(stamps)}")
            except steps.StepError as error:
                screen.say(f"old stores aside are not deleted: {error}", "bold red")
        await asyncio.sleep(A_DAY)


async def _run(wanted: settings.Settings, folder: Folder, screen: Screen) -> None:
    stopping = asyncio.Event()
    house = House(wanted, folder, screen)

    asked_at = 0.0

    def asked(insisting: bool) -> None:
        """The same wish may come twice at once: to the group, and passed on by `make`. A second
        Ctrl-C some time later is impatience, and is heard."""
        nonlocal asked_at
        if insisting and stopping.is_set() and time.monotonic() - asked_at > 1.0:
            house.supervisor.kill()
        elif not stopping.is_set():
            asked_at = time.monotonic()
            stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked, number is signal.SIGINT)

    async def life() -> None:
        await house.open()
        screen.ready()
        await _finish_restore(folder, screen)
        try:
            if first_start.is_to_load(folder):
                screen.say("loading the demonstration centre ...")
                await first_start.load_demonstration(wanted, folder)
        except steps.StepError as error:
            screen.say(f"The demonstration centre was not loaded: {error}", "bold red")
        screen.opened(wanted, folder)
        await _show_sign_ins(wanted, folder, screen)
        beside = [
            house.supervisor.keep_files(),
            house.tend_kafka(screen.say),
            _forget_aside(folder, screen),
        ]
        if (to := outbox_copy()) is not None:
            beside.append(house.keep_a_copy(to, screen.say))
        await asyncio.gather(*beside)

    living, asked_to_stop = asyncio.create_task(life()), asyncio.create_task(stopping.wait())
    await asyncio.wait({living, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
    asked_to_stop.cancel()
    if not living.done():
        screen.say("stopping", "")
        living.cancel()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await living
    finally:
        await house.supervisor.stop()
