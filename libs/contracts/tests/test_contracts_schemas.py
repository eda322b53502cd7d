"""Contracts only grow: what was sent once can be read for ever."""

from __future__ import annotations

import copy
import json

import pytest

import contracts
from contracts.event import Event
from contracts.schemas import FOLDER, breaks, goldens, schema

EVENTS = contracts.events()


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.ce_type())
def test_every_event_has_its_committed_schema(event: type[Event]) -> None:
    path = FOLDER / f"{event.ce_type()}.json"
    assert path.exists(), "write it with: python -m contracts.schemas"
    committed = json.loads(path.read_text("utf-8"))
    assert not list(breaks(committed, schema(event))), "raise the version instead"
    assert committed == schema(event), "write it anew with: python -m contracts.schemas"


def test_no_schema_is_without_its_event() -> None:
    known = {e.ce_type() for e in EVENTS}
    assert {p.stem for p in FOLDER.glob("*.json")} <= known, "an event type is never deleted"


@pytest.mark.parametrize(("event", "path"), list(goldens()), ids=lambda x: getattr(x, "stem", ""))
def test_golden_examples_are_read_and_written_as_they_were(
    event: type[Event] | None, path: object
) -> None:
    assert event is not None, "an event type is never deleted"
    text = path.read_text("utf-8")  # type: ignore[attr-defined]
    read = event.model_validate_json(text)
    written = json.loads(read.model_dump_json())
    golden = json.loads(text)
    assert {name: written[name] for name in golden} == golden


def test_every_event_has_a_golden_example() -> None:
    found = {event for event, _ in goldens()}
    assert {e for e in EVENTS if not e.TOMBSTONE} <= found


def test_breaking_changes_are_found() -> None:
    """The control: each of these must be refused."""
    old = schema(contracts.shop.SaleCompleted)

    def changed(change: str) -> list[str]:
        new = copy.deepcopy(old)
        if change == "removed":
            del new["properties"]["points"]
        elif change == "retyped":
            new["properties"]["points"]["type"] = "string"
        elif change == "required":
            new["properties"]["extra"] = {"type": "string"}
        elif change == "nested":
            del new["$defs"]["SaleLine"]["properties"]["quantity"]
        elif change == "moved":
            new["x-topic"] = "elsewhere"
        elif change == "default changed":
            new["properties"]["points"]["default"] = 1
        elif change == "default gone":
            del new["properties"]["points"]["default"]
        elif change == "grown":
            new["properties"]["extra"] = {"type": "string", "default": ""}
        return list(breaks(old, new))

    for change in ("removed", "retyped", "required", "nested", "moved"):
        assert changed(change), change
    for change in ("default changed", "default gone"):
        assert changed(change), change
    assert not changed("grown")


def test_a_new_value_breaks_as_one_that_is_gone() -> None:
    """Who does not know it reads no event with it, and would not try again when it knows it."""
    old = schema(contracts.shop.StockMoved)
    known = old["$defs"]["StockReason"]["enum"]
    for values in (known[1:], [*known, "lent"]):
        new = copy.deepcopy(old)
        new["$defs"]["StockReason"]["enum"] = values
        assert list(breaks(old, new))
    assert not list(breaks(old, copy.deepcopy(old)))


def test_unknown_fields_are_ignored_and_events_do_not_change() -> None:
    event = contracts.people.PersonErased.model_validate({"person_id": "p", "unknown": 1})
    with pytest.raises(ValueError, match="frozen"):
        event.person_id = "q"
    assert event.key == "p"


@pytest.mark.parametrize("bad", ["", " ", "a b", "../x", "x" * 65, "a/b", "é"])
def test_ids_fit_into_urls_and_keys(bad: str) -> None:
    with pytest.raises(ValueError, match="person_id"):
        contracts.people.PersonErased(person_id=bad)
