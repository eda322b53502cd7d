"""Each service as an application with a store of its own, without Kafka, once for a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from web.testing import Client

from .routes import services


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=services(), ids=lambda service: service.name
)
async def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    folder = tmp_path_factory.mktemp(request.param.name)
    settings = (
        {"identity_key_file": sealing_key(folder)} if request.param.name == "identity" else {}
    )
    async with Client(
        request.param, f"sqlite:////{folder / 'store.db'}", settings=settings
    ) as made:
        yield made


def sealing_key(folder: Path) -> Path:
    """The secret without which identity does not open."""
    file = folder / "sealing-key"
    file.write_text("a-secret-for-tests-and-only-for-tests")
    return file
