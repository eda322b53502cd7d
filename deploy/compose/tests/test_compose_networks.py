"""Who reaches whom with Docker: inside over networks that lead nowhere else, and outside only those
that have to."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES
from vicinato.settings import load as load_house

FOLDER = deploy_folder() / "compose"
RUNBOOK = deploy_folder().parent / "docs" / "runbooks" / "another-cluster.md"
SCHEMA = json.loads(
    (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
)
JOBS = ("provision", "migrate", "verify")
MORE = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "compose.yaml")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def services(*more: str) -> dict[str, dict[str, Any]]:
    """The containers of compose.yaml with what further files add: compose joins the lists of
    networks and secrets, and a setting of a later file counts."""
    found: dict[str, dict[str, Any]] = read("compose.yaml")["services"]
    for name in more:
        for service, added in read(name)["services"].items():
            assert set(added) <= {"networks", "environment", "secrets"}
            one = found[service]
            for key in ("networks", "secrets"):
                one[key] = [*one.get(key, []), *added.get(key, [])]
            one["environment"] = one.get("environment", {}) | added.get("environment", {})
    return found


def leads_outside(one: dict[str, Any]) -> bool:
    networks = read("compose.yaml")["networks"]
    return any(not networks[name].get("internal") for name in one["networks"])


@pytest.mark.parametrize("name", MORE)
def test_a_further_file_is_valid_and_says_how_it_is_taken(name: str) -> None:
    jsonschema.validate(read(name), SCHEMA)
    assert f"COMPOSE_FILE=compose.yaml:{name}" in (FOLDER / name).read_text()


def test_the_example_names_every_file() -> None:
    (line,) = re.findall(r"^#COMPOSE_FILE=(.*)$", (FOLDER / "env.example").read_text(), re.M)
    assert sorted(line.split(":")) == sorted(["compose.yaml", *MORE])


def test_only_who_has_to_reaches_outside() -> None:
    found = {name for name, one in services().items() if leads_outside(one)}
    assert found == {"front-door", "notifications", "grafana"}


@pytest.mark.parametrize("more", [(), *((name,) for name in MORE)], ids=str)
def test_the_front_door_meets_the_services_on_one_network(more: tuple[str, ...]) -> None:
    """Over another they would not know its address, and not believe it who calls."""
    found = services(*more)
    for name in SERVICES:
        shared = set(found["front-door"]["networks"]) & set(found[name]["networks"])
        assert shared == {"house"}, name


@pytest.mark.parametrize("name", SERVICES)
def test_a_collector_of_traces_elsewhere_is_reached_with_its_file(name: str) -> None:
    assert leads_outside(services("calls-out.yaml")[name])


@pytest.mark.parametrize("name", [*SERVICES, *JOBS])
def test_a_kafka_elsewhere_is_told_and_reached_with_its_file(name: str) -> None:
    one = services("kafka-elsewhere.yaml")[name]
    assert leads_outside(one)
    setting = "KAFKA" if name in JOBS else "VICINATO_KAFKA"
    assert one["environment"][setting].startswith("${KAFKA:?")
    assert "kafka-elsewhere.yaml" in RUNBOOK.read_text()


@pytest.mark.parametrize("name", JOBS)
def test_a_job_takes_the_settings_of_a_kafka_elsewhere(name: str, tmp_path: Path) -> None:
    one = services("kafka-elsewhere.yaml")[name]
    assert "kafka-elsewhere-admin" in one["secrets"]
    given = {"KAFKA": "kafka.example:9092", "KAFKA_ADMIN_USER": "root"}
    for secret in ("kafka-elsewhere-admin", "store-admin"):
        (tmp_path / secret).write_text("secret\n")
    environ = {
        key: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: given[m[1]], value).replace(
            "/run/secrets", str(tmp_path)
        )
        for key, value in one["environment"].items()
    }
    wanted = load_house(environ)
    assert wanted.bootstrap == "kafka.example:9092"
    assert wanted.kafka_admin_user == "root"
    assert wanted.kafka_admin_secret_file == tmp_path / "kafka-elsewhere-admin"


def test_docker_joins_the_files_as_we_do(tmp_path: Path) -> None:
    files_named = [word for name in ("compose.yaml", *MORE) for word in ("-f", str(FOLDER / name))]
    environ = tmp_path / "env"
    environ.write_text(
        "PUBLIC_URL=https://casa.example\nKAFKA=kafka.example:9092\nKAFKA_ADMIN_USER=root\n"
    )
    words = ["docker", "compose", "--env-file", str(environ), *files_named]
    try:
        asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    except FileNotFoundError:
        asked = subprocess.CompletedProcess([], 127)
    if asked.returncode:
        # Not a skip that VICINATO_NO_SKIPS forbids: the files are checked above without it.
        pytest.skip("there is no docker compose")
    words += ["--profile", "*", "config", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    joined = json.loads(done.stdout)["services"]
    for name, one in services(*MORE).items():
        assert set(joined[name]["networks"]) == set(one["networks"]), name
