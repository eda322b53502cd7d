"""Stores of an installation on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.catalogue import services
from runtime.testing import migrated
from vicinato.backup.staging import Target
from vicinato.folder import Folder
from vicinato.ports import free_block
from vicinato.settings import SERVICES

from .installation import PAIR, stores_on, urls_of


@pytest.fixture(autouse=True)
def _polite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup stands back for good: not in the process of the tests."""
    monkeypatch.setattr("vicinato.backup.take._stand_back", lambda: None)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An installation that was used, with empty stores of six services."""
    made = Folder(tmp_path / "data")
    made.open()
    made.first_start.write_text("{}")
    for service in services():
        migrated(urls_of(made)[service.name], service.package, service.metadata)
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """Two services' stores on either engine, and where their restored ones go."""
    folder = Folder(tmp_path / "pair")
    folder.open()
    with stores_on(request.param, folder, PAIR) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """All services' stores on either engine, and where their restored ones go."""
    folder = Folder(tmp_path / "house")
    folder.open()
    with stores_on(request.param, folder, SERVICES) as made:
        yield made


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports that are free, and a Kafka of others, which is not reached before all is put back."""
    secret = tmp_path / "admin"
    secret.write_text("x")
    monkeypatch.setenv("PORT", str(free_block()))
    monkeypatch.setenv("KAFKA", "127.0.0.1:9")
    monkeypatch.setenv("KAFKA_ADMIN_USER", "admin")
    monkeypatch.setenv("KAFKA_ADMIN_SECRET_FILE", str(secret))
