"""`vicinato`: one module of `vicinato.commands` for each group of commands.

A new command is a function in such a module that returns its exit code or None, registered by the
module's `register(app)`, and its name beside the module's in COMMANDS. Only the module of the
command that was typed is imported; all of them for the list of commands.
"""

from __future__ import annotations

import importlib
import logging
import sys
from getpass import getuser

from vicinato.checks import python_version
from vicinato.refusals import CommandError, Exit

COMMANDS = {
    "up": ("up", "stop"),
    "status": ("status",),
    "logs": ("logs",),
    "set_aside": ("set-aside",),
    "machine": ("replay", "reread", "compare", "rebuild", "clock"),
    "kafka": ("fetch-kafka", "lock-kafka"),
    "cluster": ("provision", "migrate"),
    "day": ("day",),
    "verify": ("verify",),
    "backup": ("backup",),
    "restore": ("restore",),
    "restored": ("restored",),
}
"""The commands of each module of `vicinato.commands`, in the order in which they are listed."""


def main() -> None:
    """Runs the command line; a CommandError becomes its two sentences and its exit code. What the
    client of Kafka says besides, where nobody asked for a log, is no sentence for anybody."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        python_version()
        run(sys.argv[1:])
    except CommandError as refusal:
        sys.exit(_show(refusal))
    except PermissionError as error:
        sys.exit(_show(_not_for_this_user(error)))
    except KeyboardInterrupt:
        sys.exit(130)


def run(arguments: list[str]) -> None:
    import typer

    app = typer.Typer(
        name="vicinato",
        help="Vicinato on this machine: start it, look at it, stop it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        result_callback=_end,
    )
    app.callback()(_all)  # or a command that is alone would be taken without its name
    for name in _modules(arguments):
        importlib.import_module(f"vicinato.commands.{name}").register(app)
    app(arguments)


def _modules(arguments: list[str]) -> list[str]:
    """The one of the command that was typed; all when there is none, or none of that name."""
    return [name for name, words in COMMANDS.items() if set(arguments[:1]) & set(words)] or [
        *COMMANDS
    ]


def _all() -> None:
    """What holds for every command: nothing."""


def _end(code: int | None) -> None:
    """What a command returns is the exit code."""
    import typer

    raise typer.Exit(int(code or 0))


def _not_for_this_user(error: PermissionError) -> CommandError:
    """Files and processes are those of whoever typed `make up`, and for nobody else."""
    what = error.filename or "The process of Vicinato"
    return CommandError(
        Exit.READ_ONLY_FOLDER,
        f"{what} is not for this user ({getuser()}): do it as the one who started Vicinato.",
        f"{what} non è accessibile a questo utente ({getuser()}): va fatto con quello che ha"
        " avviato Vicinato.",
    )


def _show(refusal: CommandError) -> int:
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(refusal.english, style="bold red", markup=False)
    console.print(refusal.italian, style="dim", markup=False)
    return int(refusal.code)


if __name__ == "__main__":
    main()
