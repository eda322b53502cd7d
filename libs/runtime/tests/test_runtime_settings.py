"""Settings are checked at the start, and what is wrong is said by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from runtime.clock import PlayedClock, SteadyClock
from runtime.settings import Settings, SettingsError, load, secret, settings_table
from runtime.store import database_address

GOOD = {"VICINATO_DATABASE_URL": "sqlite:////tmp/cards.db"}


class IdentitySettings(Settings):
    """As a service would have it."""

    identity_first_admin: str = Field("", description="address of the first administrator")


def test_what_is_named_is_taken_and_the_rest_has_defaults() -> None:
    settings = load("cards", {**GOOD, "VICINATO_PORT": "8101", "VICINATO_KAFKA": "a:9092,b:9092"})
    assert (settings.service, settings.port, settings.host) == ("cards", 8101, "127.0.0.1")
    assert settings.kafka == "a:9092,b:9092"
    assert isinstance(settings.clock(), SteadyClock)


def test_an_empty_value_is_none() -> None:
    assert load("cards", {**GOOD, "VICINATO_PORT": "", "VICINATO_CLOCK_FILE": ""}).port == 8000


def test_the_clock_is_played_when_a_file_is_named(tmp_path: Path) -> None:
    settings = load("cards", {**GOOD, "VICINATO_CLOCK_FILE": str(tmp_path / "offset")})
    assert isinstance(settings.clock(), PlayedClock)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"VICINATO_DATABASE_URL": ""}, "VICINATO_DATABASE_URL is missing"),
        (
            {"VICINATO_DATABASE_URL": "mysql://me:secret@x/y"},
            "VICINATO_DATABASE_URL is wrong: it must begin with sqlite:/// or postgresql://",
        ),
        ({"VICINATO_PORT": "eighty"}, "VICINATO_PORT is wrong: input should be a valid integer"),
        ({"VICINATO_PORT": "70000"}, "VICINATO_PORT is wrong: input should be less than"),
        ({"VICINATO_KAFKA": "localhost"}, "VICINATO_KAFKA is wrong: it must be host:port"),
        ({"VICINATO_LOG_LEVEL": "LOUD"}, "VICINATO_LOG_LEVEL is wrong: input should be 'DEBUG'"),
        ({"VICINATO_PUBLIC_URL": "example"}, "VICINATO_PUBLIC_URL is wrong"),
        ({"VICINATO_FRONT_DOOR": "caddy"}, "VICINATO_FRONT_DOOR is wrong: it must be addresses"),
        ({"VICINATO_KAFKA_SECRET_FILE": "/none"}, "VICINATO_KAFKA_SECRET_FILE is wrong: the file"),
        (
            {"VICINATO_LOG_LEVLE": "INFO"},
            "VICINATO_LOG_LEVLE is no setting of cards; did you mean VICINATO_LOG_LEVEL?",
        ),
        ({"VICINATO_CARDS_NOTHING": "1"}, "VICINATO_CARDS_NOTHING is no setting of cards"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load("cards", GOOD | environ)
    assert str(caught.value).startswith(sentence)
    assert "secret@" not in str(caught.value)


def test_names_of_others_are_passed_over() -> None:
    others = {"VICINATO_UP_ANYTHING": "1", "VICINATO_IDENTITY_FIRST_ADMIN": "x", "PATH": "/bin"}
    assert load("cards", GOOD | others).service == "cards"


def test_a_service_may_have_settings_of_its_own() -> None:
    environ = {**GOOD, "VICINATO_IDENTITY_FIRST_ADMIN": "anna@example.org"}
    settings = load("identity", environ, model=IdentitySettings)
    assert settings.identity_first_admin == "anna@example.org"
    assert "VICINATO_IDENTITY_FIRST_ADMIN" in {row.name for row in settings_table(IdentitySettings)}


def test_every_setting_is_documented() -> None:
    for row in settings_table():
        assert row.meaning, row.name
        assert row.type in {"text", "number", "path", "true or false"} or " or " in row.type


def test_settings_made_directly_do_not_look_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICINATO_PORT", "1")
    settings = Settings(service="cards", database_url="sqlite:////tmp/cards.db")
    assert settings.port == 8000


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("long and random\n")
    assert secret(file, "kafka_secret_file") == "long and random"
    assert secret(None, "kafka_secret_file") == ""
    file.unlink()
    with pytest.raises(SettingsError, match="VICINATO_KAFKA_SECRET_FILE"):
        secret(file, "kafka_secret_file")


def test_the_readme_lists_every_setting() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme.partition("test_runtime_settings.py -->\n")[2].partition("<!-- end -->")[0]
    lines = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for row in settings_table():
        lines.append(f"| `{row.name}` | {row.type} | {row.default} | {row.meaning} |")
    assert table.splitlines() == lines


def test_the_password_of_a_database_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("p@ss/word\n")
    environ = {
        "VICINATO_DATABASE_URL": "postgresql://vicinato_cards@db/vicinato_cards",
        "VICINATO_DATABASE_SECRET_FILE": str(file),
    }
    address = database_address(load("cards", environ).database_url)
    assert (address.username, address.password) == ("vicinato_cards", "p@ss/word")
