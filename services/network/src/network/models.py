"""What goes in and comes out over HTTP; the forms of the pages are checked with the same models.

Fields of organisations and services are named after Open Referral HSDS 3.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from dateutil.rrule import rrulestr  # type: ignore[import-untyped]
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from network.domain.deadlines import DeadlineRule
from network.domain.words import AREA_PATTERN, Capacity, Outcome, Reason


def _rrule(text: str) -> str:
    """A recurrence rule of RFC 5545 (``FREQ=WEEKLY;BYDAY=MO``), without the leading RRULE:."""
    if "\n" in text or "DTSTART" in text.upper():
        raise PydanticCustomError("value_error", "only the rule itself")
    bare = text.strip().upper().removeprefix("RRULE:")
    if bare:
        try:
            rrulestr(bare, dtstart=datetime(2026, 1, 1))  # noqa: DTZ001 - only checked
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            raise PydanticCustomError("value_error", "not a recurrence rule") from error
    return bare


class Input(BaseModel):
    """What is sent here: unknown fields are refused, white space around text is not kept."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


Key = Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Link = Annotated[str, Field(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9._:-]*)?$")]
Area = Annotated[
    str, Field(pattern=AREA_PATTERN, description="Area of life: a lower-case word such as `work`")
]
Zone = Annotated[
    str, Field(min_length=1, max_length=80, description="Part of the quarter, never an address")
]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4000)]
Rrule = Annotated[str, Field(max_length=500), AfterValidator(_rrule)]
Email = Annotated[str, Field(max_length=254, pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$")]
Phone = Annotated[str, Field(max_length=40, pattern=r"^[0-9 +()/.-]*$")]
Website = Annotated[str, Field(max_length=500, pattern=r"^(https?://[^\s]+)?$")]


class OrganisationFields(Input):
    """An organisation of the network: contacts are the organisation's own, never a person's."""

    name: Name = Field(examples=["Auser Vigevano"])
    description: Text = ""
    email: Email = Field(default="", examples=["info@auser.example"])
    phone: Phone = ""
    website: Website = ""
    areas: list[Area] = Field(default=[], max_length=40, examples=[["elderly", "company"]])
    zones: list[Zone] = Field(
        default=[], max_length=100, description="Where it works; empty means everywhere"
    )
    languages: list[Language] = Field(default=[], max_length=40, examples=[["it", "ar"]])


class NewOrganisation(OrganisationFields):
    id: Key | None = Field(default=None, description="Made by the client, or by us")
    centre_id: Link = Field(
        default="",
        description="Only for administrators of the foundation; empty: of all centres",
    )


class ServiceFields(Input):
    """What an organisation offers (HSDS service, schedule, cost_option, service_capacity)."""

    name: Name = Field(examples=["Help with papers"])
    description: Text = ""
    area: Area = Field(examples=["papers"])
    eligibility_description: Text = Field(default="", description="For whom")
    minimum_age: int | None = Field(default=None, ge=0, le=130)
    maximum_age: int | None = Field(default=None, ge=0, le=130)
    cost_option: Text = Field(default="", examples=["free"])
    required_document: Text = ""
    languages: list[Language] = Field(default=[], max_length=40)
    accessibility: Text = ""
    schedule_description: Text = Field(default="", examples=["Mondays from 9 to 12"])
    schedule_rrule: Rrule = Field(default="", examples=["FREQ=WEEKLY;BYDAY=MO"])
    capacity: Capacity = Capacity.FURTHER_ASSESSMENT

    @model_validator(mode="after")
    def _ages(self) -> ServiceFields:
        if (
            self.minimum_age is not None
            and self.maximum_age is not None
            and self.minimum_age > self.maximum_age
        ):
            raise PydanticCustomError("value_error", "the minimum age is above the maximum age")
        return self


class NewService(ServiceFields):
    id: Key | None = Field(default=None, description="Made by the client, or by us")


class CapacityNow(Input):
    capacity: Capacity


class NewNeed(Input):
    """Somebody needs something; the household may be named, or not."""

    id: Key | None = Field(default=None, description="Made by the client, or by us")
    zone: Annotated[str, Field(max_length=80)] = Field(
        default="",
        description="Part of the quarter, never an address; empty: that of the household",
        examples=["Quarto Oggiaro nord"],
    )
    area: Area = Field(examples=["work"])
    household_id: Link = ""
    centre_id: Link = Field(default="", description="Only for administrators of the foundation")


class NewReferral(Input):
    """Ask an organisation to help. Needs `need_id`, or `area` (and `zone`)."""

    id: Key | None = Field(default=None, description="Made by the client, or by us")
    need_id: Link = ""
    zone: Annotated[str, Field(max_length=80)] = Field(
        default="", description="Empty: that of the need, or of the household"
    )
    area: Annotated[str, Field(pattern=f"({AREA_PATTERN})|^$")] = Field(
        default="", description="Empty: that of the need", examples=["work"]
    )
    household_id: Link = Field(default="", description="Empty: that of the need, if any")
    to_organisation_id: Key
    service_id: Link = ""
    note: Text = Field(default="", description="For the receiver; stays in the network's store")
    override_reason: Text = Field(
        default="",
        description="Why it must be done without the household's consent; recorded",
    )
    draft: bool = Field(default=False, description="Keep it without asking anybody yet")
    centre_id: Link = Field(default="", description="Only for administrators of the foundation")


class Noted(Input):
    note: Text = ""


class Requested(Noted):
    override_reason: Text = ""


class Rejected(Noted):
    reason: Reason


class Cancelled(Noted):
    reason: Reason


class Completed(Noted):
    outcome: Outcome


class Rerouted(Noted):
    note: Text = Field(
        default="", description="For this receiver: it does not see what the first one was told"
    )
    to_organisation_id: Key
    service_id: Link = ""
    override_reason: Text = ""


class CountRule(Input):
    """From how many on a count is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    threshold: int = Field(default=5, ge=3, le=1000)


class NewRule(Input):
    """Dated configuration of a centre: what is given holds from `from_time` on."""

    from_time: AwareDatetime | None = Field(default=None, description="Empty: from now on")
    deadlines: DeadlineRule | None = None
    counts: CountRule | None = None
    centre_id: Link = Field(default="", description="Only for administrators of the foundation")

    @model_validator(mode="after")
    def _something(self) -> NewRule:
        if self.deadlines is None and self.counts is None:
            raise PydanticCustomError("missing", "nothing is set")
        return self


# -- answers -----------------------------------------------------------------------------------


class Made(BaseModel):
    """What was made, or was there already with the same content."""

    id: str


class ServiceView(BaseModel):
    id: str
    organisation_id: str
    name: str
    description: str
    area: str
    eligibility_description: str
    minimum_age: int | None
    maximum_age: int | None
    cost_option: str
    required_document: str
    languages: list[str]
    accessibility: str
    schedule_description: str
    schedule_rrule: str
    capacity: str
    capacity_at: datetime = Field(description="When the capacity was last said")


class OrganisationLine(BaseModel):
    id: str
    centre_id: str
    name: str
    areas: list[str]
    zones: list[str]
    languages: list[str]
    capacity: dict[str, int] = Field(
        default={}, description="How many services in each capacity state"
    )


class OrganisationView(OrganisationLine):
    description: str
    email: str
    phone: str
    website: str
    registered_at: datetime
    services: list[ServiceView] = []


class NeedCounts(BaseModel):
    """Needs of a year by zone and area. Null: hidden, because somebody could be recognised."""

    centre_id: str
    year: int
    threshold: int
    zones: list[str]
    areas: list[str]
    cells: list[list[int | None]] = Field(description="One row for each zone, in that order")
    zone_totals: list[int | None]
    area_totals: list[int | None]
    total: int | None
    hidden: int = Field(description="How many cells and totals are hidden")


class ReferralState(BaseModel):
    """Where a referral stands after what was done."""

    id: str
    state: str
    to_organisation_id: str
    reason: str
    outcome: str
    answer_by: datetime | None


class ReferralLine(BaseModel):
    """A referral in a list: no text and nobody's name."""

    id: str
    centre_id: str
    state: str
    closed: bool
    area: str
    zone: str
    to_organisation_id: str
    to_organisation_name: str
    service_id: str
    service_name: str
    reason: str
    outcome: str
    recorded_at: datetime
    requested_at: datetime | None
    answer_by: datetime | None
    expires_at: datetime | None
    reminded: bool
    overdue: bool = Field(description="No answer within the time and the days of grace")
    late: bool = Field(description="No answer although it was due")


class PersonLine(BaseModel):
    """Somebody whom a referral is about, for the organisation that was asked."""

    given_name: str
    family_name: str
    language: str
    holder: bool


class StepView(BaseModel):
    at: datetime
    side: str
    action: str
    state: str
    reason: str
    outcome: str
    organisation_id: str
    organisation_name: str
    note: str
    override_reason: str


class ReferralView(ReferralLine):
    """A referral with its texts; reading it is written in the audit log."""

    need_id: str
    household_id: str
    overridden: bool
    steps: list[StepView]
    people: list[PersonLine] = Field(
        description="Only for the receiving organisation, while it is asked or at work"
    )
    allowed: list[str] = Field(description="What the reader may do now")


class AuditLine(BaseModel):
    id: str
    at: datetime
    account_id: str
    organisation_id: str
    action: str
    referral_id: str
    household_id: str


class RuleView(BaseModel):
    kind: str
    from_time: datetime | None
    values: dict[str, Any]
