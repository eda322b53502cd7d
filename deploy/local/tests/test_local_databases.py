"""A database and a role for each service on PostgreSQL: made once, closed to the others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from runtime.testing import postgresql_server
from vicinato.databases import create
from vicinato.programs.service import url_on


@pytest.fixture
def server() -> str:
    return str(postgresql_server().get_uri())


@pytest.fixture
def urls(server: str) -> Iterator[dict[str, str]]:
    """Of two services, on the tests' own server, with names that nobody else uses."""
    run = uuid.uuid4().hex[:8]
    found = {name: url_on(server, f"{name}_{run}", "secret") for name in ("cards", "shop")}
    yield found
    with psycopg.connect(server, autocommit=True) as connection:
        for url in found.values():
            name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


def test_made_twice_they_are_there_once_and_can_be_used(server: str, urls: dict[str, str]) -> None:
    create(server, urls)
    with psycopg.connect(urls["cards"]) as connection:
        connection.execute("CREATE TABLE kept (one int)")
    create(server, urls)
    with psycopg.connect(urls["cards"]) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_service_cannot_even_connect_to_the_database_of_another(
    server: str, urls: dict[str, str]
) -> None:
    create(server, urls)
    cards, shop = urlsplit(urls["cards"]), urlsplit(urls["shop"])
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(urlunsplit(cards._replace(path=shop.path)))


def test_the_administrators_password_is_in_no_services_url() -> None:
    made = url_on(
        "postgresql://admin:hidden@db.example:5433/postgres?sslmode=require", "cards", "s"
    )
    assert made == ("postgresql://vicinato_cards:s@db.example:5433/vicinato_cards?sslmode=require")
