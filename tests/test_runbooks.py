"""The commands of pages, scripts and manifests are those that the programs take."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from vicinato.cli import COMMANDS
from vicinato.paths import deploy_folder

ROOT = deploy_folder().parent
COMPOSE = yaml.safe_load((deploy_folder() / "compose" / "compose.yaml").read_text())
PAGES = [
    *sorted((ROOT / "docs" / "runbooks").glob("*.md")),
    *(deploy_folder() / name / "README.md" for name in ("compose", "kubernetes")),
]
SCRIPTS = sorted((deploy_folder() / "compose").glob("*.sh"))


REFUSED: Any = typer.BadParameter.__base__
"""What a parser says of a command line that it does not take."""


def program() -> Any:
    """`vicinato`, as its command line builds it."""
    app = typer.Typer()
    for name in COMMANDS:
        importlib.import_module(f"vicinato.commands.{name}").register(app)
    return typer.main.get_command(app)


def lines(path: Path) -> Iterator[str]:
    """What a page or a script has one type: lines of blocks, and code in sentences."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    if path.suffix == ".sh":
        yield from text.splitlines()
        return
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def words_of(path: Path, *beginning: str) -> Iterator[list[str]]:
    """The words of each command that begins so, with what a shell would put in left as it is."""
    for line in lines(path):
        for part in re.split(r" \|\|? | && ", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # a quotation that goes on in the next line
                continue
            if tuple(words[: len(beginning)]) == beginning:
                yield words


def taken(words: list[str]) -> None:
    """Raises REFUSED for a command line that `vicinato` does not take. One that is only named, as
    in a sentence, needs no arguments."""
    command, context, rest = program(), None, words
    while rest and hasattr(command, "resolve_command"):
        context = command.make_context("vicinato", list(rest), parent=context)
        _, command, rest = command.resolve_command(context, list(rest))
    if rest or len(words) > 1:
        command.make_context("vicinato", list(rest), parent=context)


def as_typed(word: str) -> str:
    """An example for the moment that the shell, or Kubernetes, puts in."""
    return "2026-11-25T03:30:00" if word.startswith("$(") else word


def of_vicinato() -> Iterator[tuple[str, list[str]]]:
    """Each command line of `vicinato`, with where it is."""
    for path in PAGES:
        for beginning in ((".venv/bin/vicinato",), ("vicinato",)):
            for words in words_of(path, *beginning):
                if len(words) > 1:
                    yield path.name, words[1:]
    for path in (*PAGES, *SCRIPTS):
        for words in words_of(path, "docker", "compose", "run"):
            if "vicinato" in words:
                yield path.name, words[words.index("vicinato") + 1 :]
    for path in (deploy_folder() / "kubernetes").rglob("*.yaml"):
        for found in re.findall(r"\[(vicinato, [^]]*)\]", path.read_text()):
            yield str(path.parent.name), yaml.safe_load(f"[{found}]")[1:]


TYPED = list(of_vicinato())


@pytest.mark.parametrize(("where", "words"), TYPED, ids=[f"{w}: {' '.join(c)}" for w, c in TYPED])
def test_vicinato_takes_what_is_written(where: str, words: list[str]) -> None:
    taken([as_typed(word) for word in words if word not in ("$only", "$new_secrets")])


def test_what_it_does_not_take_is_found() -> None:
    """The control, and that the pages were read."""
    for words in (["verify", "--with-bus"], ["restored", "mark"], ["set-aside", "forget"]):
        with pytest.raises(REFUSED):
            taken(words)
    where = {name for name, _ in TYPED}
    assert where >= {"README.md", "backup-and-restore.md", "restore.sh", "mark", "open", "verify"}


ASKED = [
    (path.name, words)
    for path in (*PAGES, *SCRIPTS)
    for words in words_of(path, "docker", "compose")
    if len(words) > 2
]
WITH_VALUE = {"--profile", "--scale", "--status"}


@pytest.mark.parametrize(("where", "words"), ASKED, ids=[f"{w}: {' '.join(c)}" for w, c in ASKED])
def test_docker_is_asked_for_services_that_there_are(where: str, words: list[str]) -> None:
    named = _services(words[2:])
    assert set(named) <= set(COMPOSE["services"]), named
    for profile in [words[k + 1] for k, word in enumerate(words) if word == "--profile"]:
        assert any(profile in one.get("profiles", []) for one in COMPOSE["services"].values())


def _services(words: list[str]) -> list[str]:
    """The services that a command of compose names."""
    plain, scaled, before = [], [], ""
    for word in words:
        if before == "--scale":
            scaled.append(word.partition("=")[0])
        elif before not in WITH_VALUE and not word.startswith(("-", "$")):
            plain.append(word)
        before = word
    verb, *rest = plain
    return rest[:1] if verb in ("run", "exec") else [*rest, *scaled]


IN_CONTAINERS = {"provision", "migrate", "verify", "restored"}
"""What goes by nothing but the settings; all else by ports and locks of its own machine, and would
say in a container that nothing runs."""


def test_no_page_has_a_container_asked_for_its_own_machine() -> None:
    for where, words in TYPED:
        if where in ("containers.md", "restore.sh", "mark", "open", "verify"):
            assert words[0] in IN_CONTAINERS, (where, words)
