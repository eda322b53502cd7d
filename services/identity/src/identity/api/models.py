"""What the HTTP API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts import Id
from contracts.identity import Role
from identity.domain.accounts import LANGUAGES
from identity.domain.addresses import PHONE
from identity.domain.scopes import SCOPES, TOGETHER
from identity.domain.sessions import API_LONGEST

Typed = Annotated[str, Field(min_length=1, max_length=512)]
"""A password as typed: its rules are the domain's (length counts after NFKC)."""
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=120)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80)]
Link = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
Language = Literal["", "it", "en", "ar", "es", "fr"]


class TokenRequest(BaseModel):
    """Who asks for an API token, for what and for how long."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "desk@centre.example",
                    "password": "three words together",
                    "scopes": ["cards:read", "cards:write"],
                    "name": "import of households",
                    "days": 7,
                }
            ]
        },
    )

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Typed
    scopes: Annotated[list[str], Field(max_length=40)] | None = Field(
        None,
        description="What it may be used for; all that the roles may when left out. "
        f"One or more of: {', '.join((*SCOPES, *TOGETHER))}.",
    )
    name: Short = Field("", description="By which its owner knows it again")
    days: int | None = Field(
        None, description=f"1 to {API_LONGEST.days} days of life; 12 hours when left out"
    )


class TokenMade(BaseModel):
    """An API token. The token itself is shown here only."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a8c9e-5a20-7000-8000-000000000001",
                    "token": "eyJhbGciOiJFZERTQSIsImtpZCI6Ij…",
                    "token_type": "Bearer",
                    "expires_at": "2026-11-23T09:00:00Z",
                    "scopes": ["cards:read", "cards:write"],
                }
            ]
        }
    )

    id: str
    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the kind of token
    expires_at: datetime
    scopes: list[str]


Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]


class CentreWords(BaseModel):
    """What a centre says of itself to everybody."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "about": {"it": "Una casa aperta a tutto il quartiere."},
                    "hours": {"0": "9-13, 15:30-18", "5": "9-12"},
                    "address": "via Satta 12, Milano",
                    "directions": "Tram 12 fino al capolinea.",
                    "phone": "+39 02 1234567",
                }
            ]
        },
    )

    about: dict[Literal["it", "en", "ar", "es", "fr"], Text] = Field({}, description="by language")
    hours: dict[
        Literal["0", "1", "2", "3", "4", "5", "6"], Annotated[str, Field(max_length=80)]
    ] = Field({}, description="by day of the week, 0 is Monday; a day without hours is closed")
    address: Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)] = ""
    directions: Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)] = ""
    phone: Annotated[str, Field(max_length=40, pattern=PHONE)] = ""


class CentreNew(BaseModel):
    """A centre to be opened."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "quarto-oggiaro",
                    "name": "Centro di prossimità di Quarto Oggiaro",
                    "time_zone": "Europe/Rome",
                    "region": "IT-MI",
                    "languages": ["it", "en", "ar", "es", "fr"],
                }
            ]
        },
    )

    id: Id | None = Field(None, description="Made by the client, or by us when left out")
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    time_zone: Annotated[str, Field(max_length=64)] = "Europe/Rome"
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] = "IT-MI"
    languages: Annotated[list[str], Field(min_length=1, max_length=5)] = list(LANGUAGES)


class PasswordChoice(BaseModel):
    """One's own password, in place of the present one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "desk@centre.example",
                    "password": "4729-3658-2947",
                    "new_password": "three words together",
                }
            ]
        },
    )

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Annotated[Typed, Field(description="The present one, also a first one")]
    new_password: Typed


class AccountNew(BaseModel):
    """An account to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "till@centre.example",
                    "password": "three words together",
                    "name": "Bottega",
                    "roles": ["till"],
                    "centre_id": "quarto-oggiaro",
                    "language": "it",
                }
            ]
        },
    )

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Annotated[Typed, Field(description="A first one: it ends after 14 days")]
    name: Line = ""
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))]
    centre_id: Link | None = Field(
        None, description="The caller's own when left out; empty for administrators of all"
    )
    household_id: Link = Field("", description="Of a family account")
    organisation_id: Link = Field("", description="Of a partner's account")
    producer_id: Link = Field("", description="Of a producer's account")
    language: Language = ""


class AccountPatch(BaseModel):
    """What is to be different; what is left out stays. Ends the account's sessions when address,
    password, roles, links, centre or ``disabled`` change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"disabled": True}]})

    email: Annotated[str, Field(min_length=1, max_length=254)] | None = None
    password: Typed | None = Field(None, description="A first one: it ends after 14 days")
    name: Line | None = None
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))] | None = None
    centre_id: Link | None = None
    household_id: Link | None = None
    organisation_id: Link | None = None
    producer_id: Link | None = None
    language: Language | None = None
    disabled: bool | None = None


class AccountFind(BaseModel):
    """Whose account is looked for. Sent by POST, so that no address lies in a log."""

    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(min_length=1, max_length=254)]


class Revoke(BaseModel):
    """Which sessions to end; all of them when none is named."""

    model_config = ConfigDict(extra="forbid")

    session_ids: Annotated[list[Id], Field(max_length=500)] | None = None


class Revoked(BaseModel):
    """How many sessions ended."""

    revoked: int


class KeyTurned(BaseModel):
    """The key that signs from now on."""

    key_id: str
