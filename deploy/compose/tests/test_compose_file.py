"""The compose file: valid by the specification's schema, safe, and the same house as elsewhere."""

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

from messaging.catalogue import services
from runtime.settings import load
from vicinato.paths import caddyfile, deploy_folder
from vicinato.settings import SERVICES
from vicinato.settings import load as load_house

FOLDER = deploy_folder() / "compose"
FILE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SCHEMA = json.loads(
    (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
)


def filled(text: str, **values: str) -> str:
    """As compose fills a value in: ${NAME:-default} and ${NAME:?why}."""
    return re.sub(
        r"\$\{(\w+)(?::([-?])([^}]*))?\}",
        lambda m: values.get(m[1]) or (m[3] if m[2] == "-" else ""),
        text,
    )


def environment(service: str) -> dict[str, str]:
    given = FILE["services"][service]["environment"]
    filled_in = {k: filled(str(v), PUBLIC_URL="https://vicinato.example") for k, v in given.items()}
    return {name: value for name, value in filled_in.items() if value}


def with_secrets(service: str, folder: Path) -> dict[str, str]:
    """Its environment, with the secrets that it is given in a folder of ours."""
    for one in FILE["services"][service]["secrets"]:
        target = one if isinstance(one, str) else one["target"]
        path = folder / target.removeprefix("/run/vicinato/").lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret\n")
    return {
        name: value.replace("/run/secrets", str(folder)).replace("/run/vicinato", str(folder))
        for name, value in environment(service).items()
    }


def test_it_is_valid() -> None:
    jsonschema.validate(FILE, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**FILE, "servicse": {}}, SCHEMA)


@pytest.mark.parametrize("name", FILE["services"])
def test_a_container_may_do_nothing_that_it_need_not(name: str) -> None:
    one = FILE["services"][name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in one
    assert "privileged" not in one
    assert not one["user"].startswith(("0:", "root"))
    limits = one["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\S*", filled(one["image"]))
    if "job" not in name and one["restart"] != "no":
        assert one["healthcheck"]["test"][0] == "CMD"


def test_only_the_front_door_is_reached_from_outside() -> None:
    open_to_all = {
        name
        for name, one in FILE["services"].items()
        if any(not port.startswith("127.0.0.1:") for port in one.get("ports", []))
    }
    assert open_to_all == {"front-door"}
    for name in ("kafka", "postgresql"):
        assert FILE["services"][name]["networks"] == ["stores"]
    assert FILE["networks"]["stores"]["internal"]


def test_no_secret_stands_in_the_environment() -> None:
    for name in FILE["services"]:
        for key, value in (
            environment(name).items() if "environment" in FILE["services"][name] else ()
        ):
            if "SECRET" in key or "PASSWORD" in key:
                assert value.startswith("/run/"), key
            assert not re.search(r"://[^/@]*:[^/@]*@", value), key


def test_the_secrets_are_those_that_the_script_makes(tmp_path: Path) -> None:
    script = ["sh", str(FOLDER / "secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(script, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(FILE["secrets"])
    assert {f"./secrets/{name}" for name in made} == {
        one["file"] for one in FILE["secrets"].values()
    }
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    subprocess.run(script, check=True, capture_output=True)
    assert made == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(json.loads(made["first-admin.json"])) == {"email", "password"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_its_settings(service: str, tmp_path: Path) -> None:
    (model,) = (one.settings for one in services() if one.name == service)
    assert FILE["services"][service]["command"] == ["python", "-m", "web.serve", service]
    made = load(service, with_secrets(service, tmp_path), model=model)
    assert made.kafka_user == service
    assert f"vicinato_{service}:secret@" in made.database_url
    subnet = FILE["networks"]["house"]["ipam"]["config"][0]["subnet"]
    assert made.front_door == subnet


@pytest.mark.parametrize("job", ["provision", "migrate", "verify"])
def test_a_job_takes_its_settings_and_finds_every_secret(job: str, tmp_path: Path) -> None:
    environ = with_secrets(job, tmp_path)
    wanted = load_house(environ)
    assert wanted.engine == "postgresql"
    assert wanted.kafka_admin_user == "admin"
    for service in SERVICES:
        assert (tmp_path / "secrets" / f"store-{service}").exists()
        assert (tmp_path / "secrets" / "kafka" / service).exists()


def test_every_setting_that_a_person_may_give_is_in_the_example() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    example = re.findall(r"^(\w+)=", (FOLDER / "env.example").read_text(), re.MULTILINE)
    assert set(re.findall(r"\$\{(\w+)", text)) == set(example)


def test_the_front_door_is_told_all_that_its_routes_ask_for() -> None:
    asked = set(re.findall(r"\{\$([A-Z_]+)\}", caddyfile().read_text()))
    assert asked <= set(FILE["services"]["front-door"]["environment"])
    kubernetes = yaml.safe_load_all((deploy_folder() / "kubernetes/base/settings.yaml").read_text())
    (told,) = (one["data"] for one in kubernetes if one["metadata"]["name"] == "front-door")
    assert asked | {"BEHIND"} <= set(told)


def test_the_image_is_made_from_the_lock_and_runs_as_nobody() -> None:
    lines = (deploy_folder() / "Dockerfile").read_text()
    assert len(re.findall(r"^FROM ", lines, re.MULTILINE)) == 2
    assert ":latest" not in lines
    assert lines.count("uv sync --frozen --no-dev") == 2
    assert "--require-hashes" in lines
    assert re.findall(r"^USER (\S+)", lines, re.MULTILINE) == [
        FILE["services"]["cards"]["user"],
    ]
