"""The command line imports what the command needs that was typed, and no more."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from vicinato import cli, settings
from vicinato.cli import COMMANDS
from vicinato.processes import environment


@pytest.mark.parametrize("module", COMMANDS)
def test_a_module_has_the_commands_by_which_it_is_found(module: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    importlib.import_module(f"vicinato.commands.{module}").register(app)
    program: Any = typer.main.get_command(app)
    assert tuple(program.commands) == COMMANDS[module]


@pytest.mark.parametrize("words", [[], ["dance"], ["--help"]])
def test_who_names_no_command_is_shown_all(words: list[str]) -> None:
    assert cli._modules(words) == list(COMMANDS)


ASKED = """
import sys
from vicinato import cli
from vicinato.refusals import CommandError
try:
    cli.run(["logs", "cards"])
except CommandError:
    print(*sys.modules)
"""


def test_a_command_waits_for_no_library_of_another(tmp_path: Path) -> None:
    """Nor for the one that reads settings by itself: it takes as long as all the others."""
    words = [sys.executable, "-c", ASKED]
    env = environment({"DATA": str(tmp_path)})
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {name for name in imported if name.startswith("vicinato.commands.")} == {
        "vicinato.commands.logs"
    }
    assert not imported & {"asyncio", "httpx", "prometheus_client", "pydantic_settings"}


def test_settings_are_those_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9999")
    assert settings.load({}).port == settings.Settings().port == 8080
