"""The signed token that says who asks: made by identity, checked by everybody without asking it.

A JWT with EdDSA (Ed25519). Times are read from the clock that is passed in, never from the
system's, so that a played day and a test with a fixed clock agree with themselves.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, ValidationError

from web.roles import Caller, Role

ALGORITHM = "EdDSA"
BROWSER_LIFE = timedelta(minutes=10)
"""How long a browser's token lives before identity renews it."""


class TokenRefused(Exception):  # noqa: N818 - it names what happened
    """The token is not one of ours, is damaged, or is not valid now.

    ``why`` is one of ``malformed``, ``unknown_key``, ``signature``, ``expired``, ``not_yet``,
    ``revoked``.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Claims(BaseModel):
    """What a token says. ``sub`` is the account, ``sid`` the session, ``typ`` who uses it.

    ``zone`` is the IANA name of the centre's time zone. ``foundation``: the account works for the
    whole foundation, and ``centre`` is the one chosen for now, if any, called ``place``.
    ``over`` is when the session ends if nobody comes back; None in tokens made before that was
    said.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sub: str
    sid: str
    roles: tuple[Role, ...] = ()
    centre: str = ""
    scopes: tuple[str, ...] | None = None
    household: str = ""
    organisation: str = ""
    producer: str = ""
    lang: str = ""
    zone: str = ""
    foundation: bool = False
    place: str = ""
    typ: Literal["browser", "api"] = "browser"
    over: datetime | None = None
    iat: datetime
    exp: datetime

    @cached_property
    def caller(self) -> Caller:
        scopes = frozenset(self.scopes or ()) if self.typ == "api" else None
        return Caller(
            account_id=self.sub,
            session_id=self.sid,
            roles=frozenset(self.roles),
            centre_id=self.centre,
            scopes=scopes,
            household_id=self.household,
            organisation_id=self.organisation,
            producer_id=self.producer,
            language=self.lang,
            zone=self.zone,
            foundation=self.foundation,
            place=self.place,
            over=self.over,
        )


def mint(private_key: Ed25519PrivateKey, key_id: str, claims: Claims) -> str:
    """The signed token of ``claims``. ``key_id`` names the published key that checks it."""
    body: dict[str, Any] = claims.model_dump(mode="json", exclude={"iat", "exp"})
    if claims.typ == "browser":
        body.pop("scopes")
    body["iat"] = int(claims.iat.timestamp())
    body["exp"] = int(claims.exp.timestamp())
    return jwt.encode(body, private_key, algorithm=ALGORITHM, headers={"kid": key_id})


def key_id_of(token: str) -> str:
    """The key that the token names; TokenRefused("malformed") when it names none."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, UnicodeError) as error:
        raise TokenRefused("malformed") from error
    if not isinstance(kid, str) or not kid:
        raise TokenRefused("malformed")
    return kid


def expiry_unchecked(token: str) -> datetime | None:
    """When a token whose key is unknown says that it ends: only good to choose a sentence."""
    try:
        body = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
        return datetime.fromtimestamp(int(body["exp"]), tz=UTC)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError):
        return None


def verify(token: str, public_key: Ed25519PublicKey, now: datetime) -> Claims:
    """The claims of a token whose signature and expiry hold at ``now``.

    Raises TokenRefused with the reason. Revocation is not known here (``web.keys``).
    """
    try:
        body = jwt.decode(
            token,
            public_key,
            algorithms=[ALGORITHM],
            options={
                "require": ["sub", "sid", "exp", "iat"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise TokenRefused("signature") from error
    except jwt.PyJWTError as error:
        raise TokenRefused("malformed") from error
    try:
        claims = Claims.model_validate(body)
    except ValidationError as error:
        raise TokenRefused("malformed") from error
    if claims.exp <= now:
        raise TokenRefused("expired")
    return claims


def public_text(key: Ed25519PublicKey) -> str:
    """The raw public key in base64url, as ``identity.key.published`` carries it."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def public_key(text: str) -> Ed25519PublicKey:
    """The key of its raw base64url text; ValueError when it is none."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return Ed25519PublicKey.from_public_bytes(raw)
