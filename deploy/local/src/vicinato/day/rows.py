"""The input of a day: CSV files and `centre.toml`, read strictly and row by row.

A row that is wrong is noted with file, line and reason, and the others go on.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

M = TypeVar("M", bound="Line")

MOST_DIGITS = 12
"""Of an amount of money in cents."""


class InputError(Exception):
    """The folder cannot be played at all. One sentence."""


@dataclass(frozen=True)
class Wrong:
    """A row that could not be played, or that had another result than the one it announced."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Row(Generic[M]):
    """A row that could be read."""

    file: str
    line: int
    value: M


def _cents(text: Any) -> Any:
    if isinstance(text, str):
        try:
            cents = Decimal(text.replace(",", ".")) * 100
        except ArithmeticError as error:
            raise ValueError(f"{text!r} is no amount of money") from error
        if not cents.is_finite() or cents.adjusted() >= MOST_DIGITS:
            raise ValueError(f"{text!r} is no amount of money")
        if cents != cents.to_integral_value():
            raise ValueError(f"{text!r} has fractions of a cent")
        return int(cents)
    return text


def _lines(text: Any) -> Any:
    """``pane:2 biscotti:1`` as [("pane", 2), ("biscotti", 1)]."""
    if not isinstance(text, str):
        return text
    found = []
    for part in text.split():
        name, colon, quantity = part.partition(":")
        if not colon or not quantity.lstrip("-").isdigit():
            raise ValueError(f"{part!r} should be product:quantity")
        found.append((name, int(quantity)))
    return found


def _words(text: Any) -> Any:
    return text.split() if isinstance(text, str) else text


def _yes(text: Any) -> Any:
    if text in ("yes", ""):
        return text == "yes"
    if text == "no":
        return False
    raise ValueError("it should be yes or no")


Money = Annotated[int, BeforeValidator(_cents)]
"""Written in euros ("1.50"), kept in cents."""
Lines = Annotated[list[tuple[str, int]], BeforeValidator(_lines)]
Words = Annotated[list[str], BeforeValidator(_words)]
Yes = Annotated[bool, BeforeValidator(_yes)]


class Line(BaseModel):
    """One row; columns that are not known are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MemberLine(Line):
    household: str
    zone: str
    role: Annotated[str, Field(pattern="^(holder|member)$")]
    given_name: str
    family_name: str
    birth_date: date
    language: str = ""
    email: str = ""
    phone: str = ""
    consents: Words = []


class CardLine(Line):
    household: str
    then: str = ""


class ProducerLine(Line):
    producer: str
    name: str
    fee_percent: int


class ProductLine(Line):
    product: str
    name: str
    barcode: str = ""
    category: str = ""
    price: Money
    producer: str = ""
    minimum: int = 0


class DeliveryLine(Line):
    product: str
    quantity: int
    note: str = ""


class PointsLine(Line):
    household: str
    points: int
    reason: str
    expires_in_days: int | None = None


class SaleLine(Line):
    sale: str
    till: str
    card: str = ""
    lines: Lines = []
    cash: Money = 0
    points: int = 0
    expected: str


class RefundLine(Line):
    sale: str
    lines: Lines
    reason: str
    goods_returned: Yes = True
    expected: str


class ActivityLine(Line):
    activity: str
    title: str
    area: str = ""
    description: str = ""
    min_age: int | None = None
    max_age: int | None = None
    capacity: int
    waiting_list_policy: str = "next_who_fits"


class SessionLine(Line):
    session: str
    activity: str
    day: Annotated[int, Field(ge=0, le=365)]
    starts: time
    ends: time
    capacity: int | None = None
    place: str = ""


class SignUpLine(Line):
    session: str
    household: str
    people: str
    together: Yes = False
    then: Annotated[str, Field(pattern="^(|cancel)$")] = ""


class OfferLine(Line):
    session: str
    nth: Annotated[int, Field(ge=1)]
    answer: Annotated[str, Field(pattern="^(accept|decline|run_out)$")]


class RegisterLine(Line):
    session: str
    absent_every: Annotated[int, Field(ge=0)] = 0


class OrganisationLine(Line):
    organisation: str
    name: str
    description: str = ""
    areas: Words = []
    zones: Words = []
    capacity: str = "has_capacity"


class NeedLine(Line):
    zone: str
    area: str
    household: str = ""


class ReferralLine(Line):
    referral: str
    household: str
    area: str
    organisation: str
    then: Words = []
    override_reason: str = ""


class Centre(BaseModel):
    """`centre.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    time_zone: str = "Europe/Rome"
    region: str = "IT-MI"
    day: date
    earning: dict[str, int]
    points: dict[str, int]
    tills: dict[str, str]
    accounts: dict[str, list[str]]
    words: dict[str, Any] = {}

    @property
    def begins(self) -> datetime:
        """Eight in the morning of the day, in the centre's zone."""
        return datetime.combine(self.day, time(8), ZoneInfo(self.time_zone))


@dataclass(frozen=True)
class Table:
    """A CSV file as it is: its columns, and each row with the line on which it ends."""

    columns: list[str]
    rows: list[tuple[int, dict[str | Any, str | Any]]]

    @classmethod
    def open(cls, path: Path) -> Table:
        """Raises InputError when it is no CSV in UTF-8."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as UTF-8") from error
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            return cls(list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader])
        except csv.Error as error:
            raise InputError(f"{path.name}:{reader.reader.line_num}: {error}") from error


@dataclass
class Input:
    """A folder that was read. `tables` are its CSV files by their names."""

    centre: Centre
    tables: dict[str, Table]
    wrong: list[Wrong] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> Input:
        """Raises InputError when it is no folder of a day, or a file in it cannot be read."""
        path = folder / "centre.toml"
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{folder} has no centre.toml") from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        try:
            centre = Centre.model_validate(told)
        except ValidationError as error:
            raise InputError(f"{path}: {_said(error)}") from error
        return cls(centre, {file.name: Table.open(file) for file in folder.glob("*.csv")})

    def read(self, name: str, model: type[M]) -> list[Row[M]]:
        """All rows of a file that can be read; the others are noted. A missing file has none.

        Raises InputError when it has not the columns of `model`.
        """
        return list(self._read(name, model))

    def _read(self, name: str, model: type[M]) -> Iterator[Row[M]]:
        table = self.tables.get(name)
        if table is None:
            return
        unknown = set(table.columns) - set(model.model_fields)
        if unknown or not table.columns:
            raise InputError(f"{name}: unknown columns {', '.join(sorted(unknown)) or '(empty)'}")
        for line, values in table.rows:
            if None in values or None in values.values():
                self.note(name, line, "another number of columns than the heading")
                continue
            given = {k: v.strip() for k, v in values.items() if v.strip() != ""}
            try:
                yield Row(name, line, model.model_validate(given))
            except ValidationError as error:
                self.note(name, line, _said(error))

    def note(self, file: str, line: int, reason: str) -> None:
        """A row that could not be played."""
        self.wrong.append(Wrong(file, line, reason))


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
