"""Log lines: JSON, joined by the correlation id, and nothing of a person in them."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging as standard
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa

from runtime import correlation
from runtime.logging import configure, get_logger, logged_to, route
from runtime.store import Store

people = sa.Table(
    "people", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Text)
)


class Lines:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def last(self) -> dict[str, Any]:
        return self.all()[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = standard.getLogger()
    handlers, level = root.handlers[:], root.level
    made = Lines()
    configure("cards", stream=made.stream)
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)
    route()


def test_a_line_is_one_json_object(lines: Lines) -> None:
    get_logger().info("cards.hold.declined", reason="card.blocked", count=2)
    line = lines.last()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "cards.hold.declined",
        "level": "info",
        "service": "cards",
        "reason": "card.blocked",
        "count": 2,
    }


class Full(io.StringIO):
    """A disk on which there is no room for a while."""

    room = False

    def write(self, text: str) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.mark.usefixtures("lines")
def test_a_line_for_which_there_is_no_room_is_lost_and_nothing_else() -> None:
    disk = Full()
    configure("cards", stream=disk)
    get_logger().info("cards.hold.declined")
    disk.room = True
    get_logger().info("cards.hold.captured")
    assert [json.loads(line)["event"] for line in disk.getvalue().splitlines()] == [
        "cards.hold.captured"
    ]


class Written(io.StringIO):
    """How it was written: the events of each time."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[list[str]] = []

    def write(self, text: str) -> int:
        self.times.append([json.loads(line)["event"] for line in text.splitlines()])
        return super().write(text)


@pytest.fixture
def written(lines: Lines) -> Written:
    stream = Written()
    configure("cards", stream=stream)
    return stream


async def test_what_a_loop_tells_in_one_turn_is_written_at_its_end(written: Written) -> None:
    get_logger().info("first.told")
    get_logger().info("second.told")
    assert written.times == []
    await asyncio.sleep(0)
    assert written.times == [["first.told", "second.told"]]
    get_logger().info("third.told")
    await asyncio.sleep(0)
    assert written.times[1:] == [["third.told"]]


async def test_what_went_wrong_is_written_at_once_with_all_before_it(written: Written) -> None:
    get_logger().info("first.told")
    get_logger().warning("second.went_wrong")
    assert written.times == [["first.told", "second.went_wrong"]]
    get_logger().info("third.told")
    standard.getLogger("some.library").warning("a library")
    assert written.times[1:] == [["third.told", "a library"]]


def test_what_waits_for_a_loop_that_is_closed_is_written_with_the_next(written: Written) -> None:
    async def told() -> None:
        get_logger().info("second.told")

    closed = asyncio.new_event_loop()
    closed.call_soon(get_logger().info, "first.told")
    closed.stop()
    closed.run_forever()  # one turn
    closed.close()
    assert written.times == []
    asyncio.run(told())
    assert written.times == [["first.told", "second.told"]]


def test_what_is_logged_elsewhere_for_a_while_goes_on_where_it_went(lines: Lines) -> None:
    with io.StringIO() as other:
        with logged_to(other, "restore"):
            get_logger().info("outbox.adopted")
        assert json.loads(other.getvalue())["service"] == "restore"
    get_logger().info("cards.hold.declined")
    standard.getLogger("aiokafka").error("a line of others")
    assert [line["event"] for line in lines.all()] == ["cards.hold.declined", "a line of others"]


def test_keys_that_are_not_allowed_are_counted_and_not_written(lines: Lines) -> None:
    get_logger().info("cards.person.registered", name="Amina", phone="+39 333", count=1)
    assert lines.last()["dropped"] == 2
    assert "Amina" not in lines.stream.getvalue()
    assert "333" not in lines.stream.getvalue()


def test_the_correlation_id_is_on_every_line_of_its_block(lines: Lines, store: Store) -> None:
    log = get_logger()
    with correlation.bind("c-1"):
        log.info("outside.thread")
        store.write_now(lambda c: log.info("inside.thread"))
        standard.getLogger("some.library").warning("a library")
        assert correlation.current() == "c-1"
    log.info("after")
    assert [line.get("correlation") for line in lines.all()] == ["c-1", "c-1", "c-1", None]
    assert correlation.current() == ""


def test_lines_of_libraries_go_the_same_way_and_are_cleaned(lines: Lines) -> None:
    standard.getLogger("some.library").warning(
        "GET %s for %s", "/cards/find?name=Amina&q=1", "amina@example.org"
    )
    line = lines.last()
    assert line["event"] == "GET /cards/find?… for …@…"
    assert (line["logger"], line["level"]) == ("some.library", "warning")


def test_access_lines_have_neither_query_nor_address(lines: Lines) -> None:
    standard.getLogger("uvicorn.access").warning(
        '%s - "%s %s HTTP/%s" %d', "10.1.2.3:4", "GET", "/cards/find?name=Amina", "1.1", 200
    )
    line = lines.last()
    assert (line["event"], line["path"], line["status"]) == ("http.request", "/cards/find", 200)
    assert "10.1.2.3" not in lines.stream.getvalue()


def test_a_traceback_names_places_and_no_values(lines: Lines, store: Store) -> None:
    store.write_now(people.metadata.create_all)
    row = {"id": 1, "n": "Amina"}
    store.write_now(lambda c: c.execute(sa.insert(people), row))
    try:
        store.write_now(lambda c: c.execute(sa.insert(people), row))
    except sa.exc.IntegrityError:
        get_logger().exception("cards.person.failed")
    told = lines.last()["exception"]
    assert "IntegrityError" in told
    assert "test_runtime_logging.py" in told
    assert "Amina" not in lines.stream.getvalue()


def test_what_a_validator_refused_is_not_told(lines: Lines) -> None:
    class Person(pydantic.BaseModel):
        born: int

    try:
        Person.model_validate({"born": "Amina"})
    except pydantic.ValidationError as error:
        get_logger().warning("cards.person.refused", error=error)
    assert lines.last()["error"] == "ValidationError Person: born int_parsing"
    assert "Amina" not in lines.stream.getvalue()


def test_text_is_for_people(lines: Lines) -> None:
    stream = io.StringIO()
    configure("cards", format="text", stream=stream)
    get_logger().info("cards.hold.declined", reason="card.blocked")
    assert "cards.hold.declined" in stream.getvalue()
    assert "reason=card.blocked" in stream.getvalue()
