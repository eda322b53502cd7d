"""Who tells what to whom: what the code says, what the bus allows and what the catalogue shows."""

from __future__ import annotations

import ast
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import contracts
from messaging import Service
from messaging.asyncapi import document
from messaging.catalogue import document as catalogue
from messaging.catalogue import services

ROOT = Path(__file__).resolve().parents[2]
SERVICES = services()
TOPICS = tomllib.loads((ROOT / "deploy/kafka/topics.toml").read_text("utf-8"))["topics"]


def test_all_six_services_are_there() -> None:
    assert [s.name for s in SERVICES] == [
        "activities",
        "cards",
        "identity",
        "network",
        "notifications",
        "shop",
    ]


def test_everything_consumed_is_produced_by_exactly_one() -> None:
    writers: dict[str, list[str]] = {}
    for service in SERVICES:
        for topic in service.topics:
            writers.setdefault(topic, []).append(service.name)
    assert {e.TOPIC for e in contracts.events()} == set(writers)
    assert all(len(names) == 1 for names in writers.values())
    for service in SERVICES:
        assert {e.TOPIC for e in service.consumed} <= set(writers)


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.name)
def test_rights_on_the_bus_are_what_the_service_does(service: Service) -> None:
    written = {name for name, topic in TOPICS.items() if topic["writer"] == service.name}
    read = {name for name, topic in TOPICS.items() if service.name in topic["readers"]}
    assert written == set(service.topics)
    assert read - written == set(service.reads) - written, "no right that is not used"


def test_compacted_topics_are_those_of_the_contracts() -> None:
    compacted = {
        name
        for name, topic in TOPICS.items()
        if topic.get("config", {}).get("cleanup.policy") == "compact"
    }
    assert compacted == set(contracts.COMPACTED)


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.name)
def test_asyncapi_tells_all_that_is_sent_and_heard(service: Service) -> None:
    made = document(service)
    told = set(made["components"]["messages"])
    assert told == {e.ce_type() for e in (*service.produced, *service.consumed)}
    for operation in made["operations"].values():
        channel = operation["channel"]["$ref"].rsplit("/", 1)[1]
        for message in operation["messages"]:
            assert message["$ref"].rsplit("/", 1)[1] in made["channels"][channel]["messages"]


def test_the_catalogue_is_what_the_code_says() -> None:
    path = ROOT / "docs/events.md"
    assert path.read_text("utf-8") == catalogue(SERVICES), (
        "write it anew: python -m messaging.catalogue write docs/events.md"
    )


def test_no_event_carries_a_name_or_a_contact_point_but_those_of_people() -> None:
    personal = {"given_name", "family_name", "birth_date", "email", "phone", "address"}
    for event in contracts.events():
        if event.TOPIC != contracts.people.TOPIC:
            assert not personal & set(event.model_fields), event.ce_type()


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.name)
def test_every_event_of_a_service_is_told_somewhere(service: Service) -> None:
    """An event that nobody emits is a promise that nobody keeps."""
    folder = Path(str(find_spec(service.package).origin)).parent  # type: ignore[union-attr]
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        if path.stem in ("recover", "projections"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Name | ast.Attribute):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
    missing = {e.__name__ for e in service.produced} - names
    assert not missing, f"never made in {service.package}: {', '.join(sorted(missing))}"
