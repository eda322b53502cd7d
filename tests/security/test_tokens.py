"""A token counts by our key, our algorithm and our time, whatever it says of itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime.clock import FixedClock
from web.roles import Role
from web.testing import PRIVATE_KEY, token
from web.tokens import ALGORITHM, TokenRefused, key_id_of, public_text, verify


def parts(text: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    head, body, signature = text.split(".")
    return json.loads(plain(head)), json.loads(plain(body)), plain(signature)


def plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def coded(data: object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_only_our_algorithm_and_our_keys_count(clock: FixedClock) -> None:
    ours = token(Role.TILL, centre="c1")
    key = PRIVATE_KEY.public_key()
    assert ALGORITHM == "EdDSA"
    assert verify(ours, key, clock.now()).roles == (Role.TILL,)

    head, body, signature = parts(ours)
    body["roles"] = ["administrator"]
    secret = public_text(key).encode()
    forged = [f"{coded(head)}.{coded(body)}.{coded(signature)}"]
    forged += [f"{coded(head | {'alg': alg})}.{coded(body)}." for alg in ("none", "None", "NONE")]
    for algorithm, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
        told = f"{coded(head | {'alg': algorithm})}.{coded(body)}"
        mac = hmac.new(secret, told.encode(), digest).digest()
        forged.append(f"{told}.{coded(mac)}")
    own = Ed25519PrivateKey.generate()
    for more in (
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": public_text(own.public_key())}},
        {"jku": "https://elsewhere.example/keys"},
        {"x5u": "https://elsewhere.example/c"},
    ):
        told = f"{coded(head | more)}.{coded(body)}"
        forged.append(f"{told}.{coded(own.sign(told.encode()))}")
    for one in forged:
        with pytest.raises(TokenRefused):
            verify(one, key, clock.now())


def test_what_is_no_token_is_refused_and_nothing_else(clock: FixedClock) -> None:
    ours = token(Role.TILL, centre="c1")
    head, body, _ = parts(ours)
    key = PRIVATE_KEY.public_key()
    for odd in (
        "",
        ".",
        "..",
        "a.b.c",
        ours[:-2],
        ours + "A" * 50,
        "\ud800",
        ours.replace(".", ""),
    ):
        with pytest.raises(TokenRefused):
            _looked_at(odd, clock)
    for change in (
        {"exp": "tomorrow"},
        {"exp": 10**30},
        {"exp": None},
        {"roles": "administrator"},
        {"roles": ["king"]},
        {"sub": ["a"]},
        {"sid": None},
        {"typ": "admin"},
        {"iat": {}},
    ):
        told = f"{coded(head)}.{coded(body | change)}"
        with pytest.raises(TokenRefused):
            verify(f"{told}.{coded(PRIVATE_KEY.sign(told.encode()))}", key, clock.now())


def _looked_at(text: str, clock: FixedClock) -> None:
    """As the key ring does: whose key, then whether it holds."""
    key_id_of(text)
    verify(text, PRIVATE_KEY.public_key(), clock.now())


def test_a_token_ends_at_its_end(clock: FixedClock) -> None:
    ours = token(Role.TILL, expires=clock.now() + timedelta(minutes=1))
    key = PRIVATE_KEY.public_key()
    assert verify(ours, key, clock.now() + timedelta(seconds=59))
    with pytest.raises(TokenRefused, match="expired"):
        verify(ours, key, clock.now() + timedelta(minutes=1))
