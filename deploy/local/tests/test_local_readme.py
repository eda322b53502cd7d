"""The README's table of settings is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from messaging.catalogue import services
from runtime.settings import settings_table
from vicinato import paths, settings
from vicinato.paths import deploy_folder
from vicinato.refusals import Exit

README = deploy_folder().parent / "README.md"


def documented() -> dict[str, str]:
    """Name and default of every setting of the table."""
    found: dict[str, str] = {}
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.match(r"`[A-Z_]+`", cells[0]):
            for name in re.findall(r"`([A-Z_]+)`", cells[0]):
                found[name] = cells[1].strip("`")
    return found


def test_every_setting_of_the_installation_is_in_the_table() -> None:
    for name, field in settings.Settings.model_fields.items():
        assert name.upper() in documented()
        default = field.default
        if isinstance(default, int | str | Path) and default and not isinstance(default, bool):
            assert documented()[name.upper()] == str(default)


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_every_setting_of_a_service_is_in_the_table(service: object) -> None:
    for row in settings_table(service.settings):  # type: ignore[attr-defined]
        if row.name not in settings.SET_BY_US:
            assert documented()[row.name] == row.default, row.name


def test_the_table_names_nothing_else() -> None:
    known = {name.upper() for name in settings.Settings.model_fields}
    known |= {row.name for service in services() for row in settings_table(service.settings)}
    rest = set(documented()) - known
    assert rest == {"PYTHON"} | paths.NAMES


def test_every_exit_code_is_told() -> None:
    (told,) = (line for line in README.read_text().splitlines() if "a code of its own" in line)
    does_not_hold = 1  # the work was done, and found something
    assert set(map(int, re.findall(r"\b\d+\b", told))) == {does_not_hold, *map(int, Exit)}
