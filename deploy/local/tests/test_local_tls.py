"""A site whose address begins with https: the same Caddyfile, with a certificate of Caddy's own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from runtime.testing import eventually
from vicinato.paths import caddyfile
from vicinato.ports import free_port
from vicinato.processes import die_with_parent
from vicinato.settings import SERVICES

pytestmark = pytest.mark.xdist_group("tls")

CADDY = Path(sysconfig.get_path("scripts")) / "caddy"

WEAK = ("AES128-SHA", "AES256-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256")
"""Without forward secrecy, or in a mode that padding gave away."""


@dataclass(frozen=True)
class Site:
    """A front door that speaks TLS; `plain` is the port on which it leads there."""

    port: int
    plain: int
    authority: Path

    def hand_shake(self, context: ssl.SSLContext) -> str:
        """The version of TLS that both agree on.

        Raises ssl.SSLError when they do not.
        """
        address = ("127.0.0.1", self.port)
        with (
            socket.create_connection(address, timeout=10) as wire,
            context.wrap_socket(wire, server_hostname="localhost") as wrapped,
        ):
            return wrapped.version() or ""

    def context(self) -> ssl.SSLContext:
        """A client that believes this site's authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("front-door")
    port, plain = free_port(), free_port()
    environ = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "SITE": f"https://localhost:{port}",
        "BIND": "127.0.0.1",
        "STATIC": str(folder),
        "PAGES": str(caddyfile().with_name("front-door")),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        **{f"{name.upper()}_AT": f"127.0.0.1:{free_port()}" for name in SERVICES},
    }
    adapt = [str(CADDY), "adapt", "--config", str(caddyfile())]
    read = subprocess.run(adapt, env=environ, capture_output=True, text=True, check=True)
    settings = json.loads(read.stdout)
    # Another port than 80, which may be taken, and the machine's own authorities stay as they are.
    settings["apps"]["http"]["http_port"] = plain
    own = {"install_trust": False}
    settings["apps"]["pki"] = {"certificate_authorities": {"local": own}}
    config = folder / "caddy.json"
    config.write_text(json.dumps(settings), "utf-8")
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [str(CADDY), "run", "--config", str(config)],
            env=environ,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),
        )
    made = Site(port, plain, folder / "caddy" / "pki" / "authorities" / "local" / "root.crt")

    def answers() -> bool:
        assert process.poll() is None, (folder / "caddy.log").read_text("utf-8", "replace")
        with contextlib.suppress(OSError):
            return bool(made.hand_shake(made.context()))
        return False

    try:
        eventually(answers, within=30, why="the site has a certificate")
        yield made
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_todays_versions_of_tls_are_spoken(site: Site, version: ssl.TLSVersion) -> None:
    context = site.context()
    context.minimum_version = context.maximum_version = version
    assert site.hand_shake(context) == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(site: Site, version: ssl.TLSVersion) -> None:
    context = site.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        site.hand_shake(context)


@pytest.mark.parametrize("cipher", WEAK)
def test_a_weak_cipher_is_refused(site: Site, cipher: str) -> None:
    context = site.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        site.hand_shake(context)


def test_who_comes_by_http_is_led_to_https(site: Site) -> None:
    answer = httpx.get(f"http://localhost:{site.plain}/identity/welcome?x=1")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://localhost:{site.port}/identity/welcome?x=1"
