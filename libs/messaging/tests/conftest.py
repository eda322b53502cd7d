"""A broker of one's own for the tests that hurt it, and the pair of services on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vicinato.kafka.jars import JarError, fetch
from vicinato.kafka.topics import Topics
from vicinato.testing import OwnKafka, unavailable

from .pair import House


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnKafka]:
    """One broker for these tests, which hurt it and bring it back."""
    try:
        fetch()
    except JarError as error:
        unavailable(str(error))
    made = OwnKafka.start(tmp_path_factory.mktemp("broker"))
    made.provision()
    yield made
    made.kill()


@pytest.fixture
async def house(broker: OwnKafka, tmp_path: Path) -> House:
    """With empty topics."""
    made = House(broker, tmp_path)
    await made.make_topics_anew(*(topic.name for topic in Topics.read().topics))
    return made
