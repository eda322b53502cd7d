"""`vicinato verify` across two stores: each fact is heard, or to come, or waits for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from messaging.catalogue import services
from messaging.tables import inbox, outbox, outbox_sent, outbox_unsent, place, set_aside
from runtime.store import database_address
from runtime.testing import ENGINES, fresh_store
from vicinato.verify import Report, verify

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TOPIC, TYPE = "shop.events", "shop.till.opened.v1"
FACT = "01890000-0000-7000-8000-000000000001"

SHOP, CARDS = (next(s for s in services() if s.name == name) for name in ("shop", "cards"))


@pytest.fixture(params=ENGINES)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shop that has told one fact, and cards that has read as far as that."""
    with ExitStack() as stack:
        made = {
            service.name: stack.enter_context(
                fresh_store(request.param, service.package, service.metadata, tmp_path)
            )
            for service in (SHOP, CARDS)
        }
        fact = {
            "row": 1,
            "id": FACT,
            "topic": TOPIC,
            "key": "t",
            "type": TYPE,
            "headers": {},
            "body": b"{}",
            "at": NOW,
        }
        sent = {"row": 1, "partition": 0, "record_offset": 4, "stamp": 0}
        write(made["shop"], sa.insert(outbox).values(**fact), sa.delete(outbox_unsent))
        write(made["shop"], sa.insert(outbox_sent).values(**sent))
        read = {"side": "in", "topic": TOPIC, "partition": 0, "record_offset": 4}
        write(made["cards"], sa.insert(place).values(**read, event_id=FACT, stamp=0, era=1))
        yield made


def write(url: str, *statements: sa.Executable) -> None:
    engine = sa.create_engine(database_address(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def aside(state: str, event_id: str = FACT) -> sa.Executable:
    return sa.insert(set_aside).values(
        event_id=event_id,
        topic=TOPIC,
        partition=0,
        record_offset=4,
        key="t",
        type=TYPE,
        state=state,
        reason="till.unknown",
        tries=1,
        next_try=NOW + timedelta(minutes=1),
        headers={},
        stamp=0,
        at=NOW,
    )


def settled() -> sa.Executable:
    return sa.insert(inbox).values(event_id=FACT, source=TOPIC)


def looked(urls: dict[str, str]) -> Report:
    return verify([SHOP, CARDS], urls, None)


def notes(report: Report) -> list[str]:
    return [note for note in report.notes if "Without the bus" not in note]


def test_a_fact_that_was_settled_is_heard(urls: dict[str, str]) -> None:
    write(urls["cards"], settled())
    report = looked(urls)
    assert (report.differences, report.on_the_way, notes(report)) == ([], 0, [])


def test_a_fact_that_was_read_and_is_nowhere_is_a_difference(urls: dict[str, str]) -> None:
    report = looked(urls)
    assert [one.check for one in report.differences] == ["every fact is heard"]


@pytest.mark.parametrize("state", ["waiting", "retrying"])
def test_a_fact_that_is_to_be_tried_again_is_on_its_way(urls: dict[str, str], state: str) -> None:
    write(urls["cards"], aside(state))
    report = looked(urls)
    assert (report.differences, report.on_the_way, notes(report)) == ([], 1, [])


def test_a_fact_of_ours_that_was_given_up_is_noted(urls: dict[str, str]) -> None:
    write(urls["cards"], aside("dead"), settled())
    report = looked(urls)
    assert (report.differences, report.on_the_way) == ([], 0)
    assert notes(report) == [
        f"cards has given up {TYPE} {FACT} of {TOPIC}: `vicinato set-aside list --state dead`"
        " says why."
    ]


def test_what_staff_have_discarded_and_what_a_stranger_wrote_are_not_spoken_of(
    urls: dict[str, str],
) -> None:
    write(urls["cards"], aside("discarded"), aside("dead", "foreign"), settled())
    report = looked(urls)
    assert (report.differences, report.on_the_way, notes(report)) == ([], 0, [])
