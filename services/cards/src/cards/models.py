"""What can be sent to cards: the same models for the HTTP API and for the forms of the pages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    validate_email,
)
from pydantic_core import PydanticCustomError

from cards.domain.card import BlockReason
from cards.domain.household import MOST_MEMBERS, check_holder, phone_of
from contracts.cards import Purpose, Stage
from runtime.refusals import N_, Refusal


def _ruled(rule: Callable[[str], str]) -> Callable[[str], str]:
    """A rule of the domain as a validator: its refusal is then an error of that field."""

    def checked(value: str) -> str:
        try:
            return rule(value)
        except Refusal as refusal:
            raise PydanticCustomError("cards.field", "{sentence}", _said(refusal)) from refusal

    return checked


def _said(refusal: Refusal) -> dict[str, object]:
    return {"sentence": refusal.sentence, **refusal.values}


def _stripped(most: int, *, least: int = 1) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=least, max_length=most)


def _writable(text: str) -> str:
    """Line breaks and tabs become spaces; other control characters are nobody's name."""
    text = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise PydanticCustomError(
            "cards.characters", N_("This text has characters that cannot be kept.")
        )
    return text


def _email(text: str) -> str:
    return validate_email(text)[1] if text else ""


Text = AfterValidator(_writable)
Name = Annotated[str, _stripped(100), Text]
Phone = Annotated[str, _stripped(30, least=0), AfterValidator(_ruled(phone_of))]
Email = Annotated[str, _stripped(254, least=0), AfterValidator(_email)]
"""An address, or nothing."""
Language = Annotated[str, StringConstraints(pattern=r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$")]
Zone = Annotated[str, _stripped(100, least=0), Text]
Reason = Annotated[str, _stripped(500, least=3), Text]
"""Why points are given or taken by hand: at least a word."""


class Asked(BaseModel):
    """Something sent to us: what is not known is refused, so that nobody's typing is lost."""

    model_config = ConfigDict(extra="forbid")


class Member(Asked):
    """A person of a household. Only the name is needed."""

    given_name: Name = Field(examples=["Amina"])
    family_name: Name = Field(examples=["Rossi"])
    birth_date: date | None = Field(default=None, examples=["1988-04-21"])
    language: Language = Field(
        default="", description="BCP 47; empty when nobody knows.", examples=["ar"]
    )
    email: Email = Field(default="", examples=["amina@example.org"])
    phone: Phone = Field(
        default="",
        description="Any usual spelling; kept as E.164. Without a country it is Italian.",
        examples=["+393331234567"],
    )
    holder: bool = Field(
        default=False,
        description="Who holds the card. Nobody named: the first of the list.",
    )


def _with_holder(members: list[Member]) -> list[Member]:
    if members and not any(member.holder for member in members):
        members = [members[0].model_copy(update={"holder": True}), *members[1:]]
    try:
        check_holder(member.holder for member in members)
    except Refusal as refusal:
        raise PydanticCustomError("cards.field", "{sentence}", _said(refusal)) from refusal
    return members


class HouseholdNew(Asked):
    """A household to be registered."""

    members: Annotated[list[Member], Field(max_length=MOST_MEMBERS), AfterValidator(_with_holder)]
    zone: Zone = Field(
        default="", description="Part of the quarter, never an address.", examples=["via Satta"]
    )
    consents: list[Purpose] = Field(
        default_factory=list,
        description="What the holder agreed to.",
        examples=[["registration", "messages"]],
    )
    centre_id: str = Field(
        default="", max_length=64, description="Only for administrators of the whole foundation."
    )


class MemberChange(Asked):
    """What is new of a member. With ``id`` only the fields that are given change; without one a
    new member joins, who needs both names."""

    id: str = Field(default="", max_length=64)
    given_name: Name | None = None
    family_name: Name | None = None
    birth_date: date | None = None
    language: Language | None = None
    email: Email | None = None
    phone: Phone | None = None
    holder: bool | None = Field(default=None, description="true: becomes the holder.")


class HouseholdChange(Asked):
    """What is new of a household; what is left out stays as it is."""

    zone: Zone | None = None
    members: list[MemberChange] = Field(default_factory=list, max_length=MOST_MEMBERS)
    removed: list[str] = Field(
        default_factory=list,
        max_length=MOST_MEMBERS,
        description="Ids of members who left; what is known of them is erased.",
    )


class MemberShown(BaseModel):
    """What the form of a change shows of a member."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    given_name: str
    family_name: str
    birth_date: date | None
    language: str
    email: str
    phone: str
    holder: bool


class HouseholdShown(BaseModel):
    """What the form of a change shows of a household. It travels with the form, and is compared
    with what holds when the form comes back."""

    model_config = ConfigDict(from_attributes=True)

    zone: str
    members: list[MemberShown]


class ConsentGiven(Asked):
    """A purpose that the holder agrees to."""

    purpose: Purpose = Field(examples=["messages"])


class Block(Asked):
    """Why a card is blocked."""

    reason: BlockReason = Field(examples=["lost"])


class Adjustment(Asked):
    """Points given (positive) or taken (negative) by hand."""

    points: int = Field(ge=-1_000_000, le=1_000_000, examples=[20])
    reason: Reason = Field(examples=["helped at the Christmas workshop"])
    expires_at: AwareDatetime | None = Field(
        default=None, description="When given points expire; left out: never."
    )


class RuleNew(Asked):
    """An earning rule of a centre, from a time on."""

    per_euro: int = Field(default=0, ge=0, le=1000, examples=[1])
    per_attendance: int = Field(default=0, ge=0, le=1000, examples=[5])
    valid_days: int = Field(default=365, ge=1, le=3650, examples=[365])
    from_time: AwareDatetime | None = Field(default=None, description="Left out: from now on.")
    centre_id: str = Field(
        default="", max_length=64, description="Only for administrators of the whole foundation."
    )


class StageNew(Asked):
    """Where a person is on the path."""

    stage: Stage = Field(examples=["accompaniment"])


class Lookup(Asked):
    """A scanned token or a number typed from the card: one of the two."""

    token: str = Field(default="", max_length=200)
    number: str = Field(default="", max_length=40)


class Search(Asked):
    """Words of a name, a phone number or a card number."""

    text: str = Field(default="", max_length=200, examples=["rossi amina"])
