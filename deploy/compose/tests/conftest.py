"""A PostgreSQL and a host for the tests of backup and restore with Docker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .host import Host, postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def host(server: str, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """Whoever uses it begins with stores of their own (`Host.anew`). Its databases and roles are
    there: the job that would make them is only written down."""
    return Host(tmp_path_factory.mktemp("host"), server, run=["migrate"])
