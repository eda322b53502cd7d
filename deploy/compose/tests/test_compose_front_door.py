"""The front door of the compose file: it answers in its container where the host's ports lead."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from typing import Any

import pytest
import yaml

from vicinato.paths import caddyfile, deploy_folder
from vicinato.settings import SERVICES

FOLDER = deploy_folder() / "compose"
FRONT_DOOR: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"][
    "front-door"
]
INSIDE = {"http": 80, "https": 443}
"""The ports of the container, by the setting of the host's that leads there."""


def started(public_url: str, *, by: list[str], **ports: str) -> subprocess.CompletedProcess[str]:
    """The container's command up to its script, which then runs `by` instead of Caddy."""
    script = FOLDER / "front-door" / "start.sh"
    assert FRONT_DOOR["command"][:3] == ["sh", "/usr/local/lib/vicinato/start.sh", "caddy"]
    assert f"./front-door/{script.name}:{FRONT_DOOR['command'][1]}:ro" in FRONT_DOOR["volumes"]
    environ = {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "SITE": public_url,
        "BIND": "0.0.0.0",
        "STATIC": "/",
        "PAGES": "/",
        **{f"{name.upper()}_AT": f"{name}:8000" for name in SERVICES},
        **ports,
    }
    words = ["sh", str(script), *by]
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False)


def listening(public_url: str, **ports: str) -> list[str]:
    """Where Caddy would listen in the container."""
    done = started(public_url, by=["caddy", "adapt", "--config", str(caddyfile())], **ports)
    assert done.returncode == 0, done.stderr
    servers = json.loads(done.stdout)["apps"]["http"]["servers"]
    return [address for one in servers.values() for address in one["listen"]]


def test_the_ports_of_the_host_lead_to_those_of_the_container() -> None:
    assert FRONT_DOOR["ports"] == [
        f"${{{scheme.upper()}_PORT:-{port}}}:{port}" for scheme, port in INSIDE.items()
    ]
    assert f"('127.0.0.1', {INSIDE['http']})" in FRONT_DOOR["healthcheck"]["test"][-1]


@pytest.mark.parametrize(
    ("public_url", "ports", "inside"),
    [
        ("https://casa.example", {}, 443),
        ("https://casa.example/", {"HTTPS_PORT": "8443"}, 443),
        ("https://casa.example:8443", {"HTTPS_PORT": "8443"}, 443),
        ("http://casa.example", {"HTTP_PORT": ""}, 80),
        ("http://localhost:8080", {"HTTP_PORT": "8080"}, 80),
        ("http://localhost:8080/", {"HTTP_PORT": "127.0.0.1:8080"}, 80),
        ("http://[::1]", {}, 80),
        ("http://[::1]:8080", {"HTTP_PORT": "8080"}, 80),
    ],
)
def test_it_listens_there_whatever_port_people_type(
    public_url: str, ports: dict[str, str], inside: int
) -> None:
    assert listening(public_url, **ports) == [f"0.0.0.0:{inside}"]


def test_the_name_that_people_type_is_kept() -> None:
    done = started("https://casa.example:8443/", by=["printenv", "SITE"], HTTPS_PORT="8443")
    assert done.stdout == "https://casa.example\n"


@pytest.mark.parametrize(
    ("public_url", "ports", "said"),
    [
        ("http://localhost:8080", {}, "HTTP_PORT=8080"),
        ("https://casa.example:8443", {"HTTPS_PORT": "443"}, "HTTPS_PORT=8443"),
        ("casa.example", {}, "begins with http"),
        ("casa.example:8080", {"HTTP_PORT": "8080"}, "begins with http"),
    ],
)
def test_an_address_at_which_nobody_would_answer_is_refused(
    public_url: str, ports: dict[str, str], said: str
) -> None:
    done = started(public_url, by=["false"], **ports)
    assert done.returncode == 2
    assert said in done.stderr
