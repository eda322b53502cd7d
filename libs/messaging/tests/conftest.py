"""A broker of one's own for the tests that hurt it, the pair of services on it, and the same in
memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.store import Store
from vicinato.kafka.jars import JarError, fetch
from vicinato.testing import OwnKafka, unavailable

from .pair import HEARER, House
from .pair import TELLER as TELLER_IN_A_HOUSE
from .teller_and_hearer import HEARING, SAYING, TELLER
from .world import World


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
    """Its topics are empty."""
    made = House(broker, tmp_path)
    await made.make_topics_anew(*TELLER_IN_A_HOUSE.topics, *HEARER.topics)
    return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Six facts of three keys were said and sent."""
    stores = Store(f"sqlite:///{tmp_path}/teller.db"), Store(f"sqlite:///{tmp_path}/hearer.db")
    for store, metadata in zip(stores, (SAYING, HEARING), strict=True):
        store.write_now(metadata.create_all)
    made = World(*stores)
    made.say(["a", "b", "c"])
    made.say(["a", "b", "c"])
    assert made.relay(TELLER.name)
    yield made
    made.close()
    for store in stores:
        store.close_now()
