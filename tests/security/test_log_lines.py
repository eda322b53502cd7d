"""What people are called, and what they typed, never reaches a log line: not by an error either."""

from __future__ import annotations

import io
import json
import logging as standard
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pydantic
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.logging import configure, get_logger, route
from runtime.store import Store

from .planting import Words

NAME = "Zorblina"


class Person(pydantic.BaseModel):
    """Somebody, as a form would send them."""

    model_config = pydantic.ConfigDict(extra="forbid")

    born: date
    age: int
    kind: pydantic.UUID4


people = sa.Table("people", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


def _sql(name: str) -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(sa.text(f'SELECT "{name}" FROM nowhere'))


def _sql_value(name: str) -> None:
    engine = sa.create_engine("sqlite://")
    people.metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(sa.insert(people).values(id=name))


def _asserts(name: str) -> None:
    assert name == "", name


def _raised_from(name: str) -> None:
    try:
        int(name)
    except ValueError as error:
        raise KeyError(name) from error


ERRORS: dict[str, Callable[[str], object]] = {
    "no number": int,
    "no decimal": Decimal,
    "no date": date.fromisoformat,
    "no moment": datetime.fromisoformat,
    "no id": uuid.UUID,
    "no zone": ZoneInfo,
    "no key": {}.__getitem__,
    "no attribute": lambda name: getattr(object(), name),
    "no JSON": json.loads,
    "no ASCII": lambda name: f"{name}\udcff".encode("latin-1"),
    "no bytes": lambda name: (name.encode("utf-16") + b"\xd8").decode("utf-8"),
    "no model": lambda name: Person.model_validate({"born": name, "age": name, "kind": name}),
    "no field": lambda name: Person.model_validate_json(json.dumps({"age": name})),
    "no statement": _sql,
    "no value": _sql_value,
    "not held": _asserts,
    "raised from another": _raised_from,
}


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    root = standard.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("cards", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    route()


@pytest.mark.parametrize("what", ERRORS)
@given(before=st.text(max_size=8), after=st.text(max_size=8))
@settings(max_examples=15, deadline=None)
def test_no_error_tells_what_people_are_called(
    log: io.StringIO, what: str, before: str, after: str
) -> None:
    log.seek(0)
    log.truncate()
    name = f"{before}{NAME}{after}"
    try:
        ERRORS[what](name)
    except Exception as error:
        get_logger().exception("cards.person.failed")
        get_logger().warning("cards.person.refused", error=error)
        standard.getLogger("some.library").exception("it failed")
    assert log.getvalue(), "it was meant to fail"
    assert not Words([NAME]).within(log.getvalue().encode("utf-8", "replace"))


def test_the_store_keeps_what_it_was_given_to_itself(log: io.StringIO, tmp_path: object) -> None:
    log.seek(0)
    log.truncate()
    store = Store(f"sqlite:///{tmp_path}/people.db")
    try:
        store.write_now(lambda c: c.execute(sa.text("INSERT INTO x VALUES (:n)"), {"n": NAME}))
    except sa.exc.SQLAlchemyError:
        get_logger().exception("cards.person.failed")
    store.close_now()
    assert "OperationalError" in log.getvalue()
    assert NAME not in log.getvalue()


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_no_line_can_be_forged(log: io.StringIO, typed: str) -> None:
    """Whatever stands in a value, one event is one line, and the line is what was said."""
    log.seek(0)
    log.truncate()
    typed = typed.encode("utf-8", "replace").decode() + '\n{"event": "forged"}\r\n'
    get_logger().info("cards.hold.declined", reason=typed)
    standard.getLogger("some.library").warning("%s", typed)
    lines = log.getvalue().split("\n")[:-1]
    assert len(lines) == 2
    assert json.loads(lines[0])["reason"] == typed
    assert json.loads(lines[1])["logger"] == "some.library"
