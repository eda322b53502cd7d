"""The way to the mail server: by TLS, to the server that was meant, or not at all."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from notifications import post, store
from notifications.worker import Courier

from .conftest import MailServer, World, free_port

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

SECRET = "parola-del-server"


@dataclass(frozen=True)
class Certificate:
    """A certificate that signed itself, and its key, in one file."""

    file: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


def certificate(file: Path, host: str) -> Certificate:
    """Of a server at an address, for today."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Certificate(file)


@dataclass
class Guarded(MailServer):
    """One that takes e-mails of those who know its secret, and notes what it was told."""

    secrets: list[str] = field(default_factory=list)

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        self.secrets.append(data.password.decode())
        return AuthResult(success=self.secrets[-1] == SECRET)


Starts = Callable[..., Guarded]


@pytest.fixture
def starts() -> Iterator[Starts]:
    """Starts mail servers: with `tls_context` one that offers STARTTLS, with `ssl_context` one that
    speaks TLS from the first byte."""
    controllers: list[Controller] = []

    def start(**options: Any) -> Guarded:
        server = Guarded(free_port())
        controllers.append(
            Controller(
                server,
                hostname="127.0.0.1",
                port=server.port,
                authenticator=server.authenticate,
                auth_require_tls=False,  # so that a secret in the clear would be heard
                auth_required=True,
                **options,
            )
        )
        controllers[-1].start()
        return server

    yield start
    for controller in controllers:
        controller.stop()


def courier_with_secret(world: World, server: Guarded, folder: Path) -> Courier:
    """A process that signs in on the server, and insists on TLS, as is usual."""
    file = folder / "secret"
    file.write_text(SECRET)
    courier = world.courier(server.port, timeout=10)
    courier._settings = courier._settings.model_copy(
        update={"smtp_starttls": True, "smtp_user": "casa", "smtp_secret_file": file}
    )
    return courier


@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "at-once"])
async def test_a_server_that_is_who_it_should_be_gets_the_email(
    sqlite_world: World,
    starts: Starts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_once: bool,
) -> None:
    own = certificate(tmp_path / "own.pem", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(own.file))
    server = starts(**{"ssl_context" if at_once else "tls_context": own.context})
    if at_once:
        monkeypatch.setattr(post, "TLS_AT_ONCE", server.port)
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    await courier_with_secret(world, server, tmp_path).round()
    assert world.states() == {"in_app": "delivered", "email": "delivered"}
    assert server.secrets == [SECRET]
    assert server.recipients == ["maria@example.org"]


@pytest.mark.parametrize("shown", ["nothing", "unknown", "of another"])
async def test_to_a_server_that_cannot_show_who_it_is_nothing_is_said(
    sqlite_world: World,
    starts: Starts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shown: str,
) -> None:
    """No TLS, a certificate that nobody signed, one for another address: neither our secret nor the
    person's address nor the text leaves, and the e-mail waits until it is mended."""
    own = certificate(tmp_path / "own.pem", "127.0.0.1")
    other = certificate(tmp_path / "other.pem", "127.0.0.2")
    trusted, used = {"nothing": (own, None), "unknown": (other, own), "of another": (other, other)}[
        shown
    ]
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.file))
    server = starts(**({} if used is None else {"tls_context": used.context}))
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    await courier_with_secret(world, server, tmp_path).round()
    delivery = world.delivery()
    assert (delivery.state, delivery.tries) == ("temporary_failure", 1)
    assert (server.secrets, server.asked, server.taken) == ([], 0, [])
    assert [a.answer for a in world.rows(store.attempt)] == ["later"]
