"""Bad beginnings: each one sentence, in English and Italian, an exit code of its own, no traceback,
and nothing touched."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vicinato import checks, cli, settings
from vicinato.first_start import nothing_to_load
from vicinato.folder import MARKER, Folder
from vicinato.kafka.topics import Topics, TopicsError
from vicinato.ports import free_block, free_port
from vicinato.refusals import CommandError, Exit


def vicinato(
    *words: str, before: Sequence[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VICINATO_")}
    return subprocess.run(
        [*before, sys.executable, "-m", "vicinato.cli", *words],
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], code: Exit, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    english, italian = done.stderr.strip().splitlines()
    assert english != italian
    for word in words:
        assert word in english, english


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("PORT", "eighty", "PORT"),
        ("PORT", "70000", "PORT"),
        ("KAFKA", "somewhere", "KAFKA"),
        ("KAFKA", "host:9092", "KAFKA_ADMIN_USER"),
        ("KAFKA_ADMIN_SECRET_FILE", "/nowhere", "KAFKA_ADMIN_SECRET_FILE: no file /nowhere"),
        ("DATABASE_SECRET_FILE", "/", "DATABASE_SECRET_FILE: no file / that can be read"),
        ("DATABASE", "mysql://x", "DATABASE"),
        ("DATABASE", "postgresql://admin:x@[::/db", "DATABASE: must be postgresql://adm"),
        ("DATABASE", "postgresql://admin:x@host:port/db", "DATABASE: must be postgresql://adm"),
        ("DATABASE", "postgresql://", "DATABASE: must be postgresql://adm"),
        ("PUBLIC_URL", "vicinato.example", "PUBLIC_URL: must be http://name"),
        ("PUBLIC_URL", "https://vicinato.example/", "with nothing behind the name"),
        ("ADMIN_EMAIL", "parrocchia", "ADMIN_EMAIL: must be an e-mail address"),
        ("DEMO", "perhaps", "DEMO"),
        ("VICINATO_SMPT_HOST", "x", "VICINATO_SMPT_HOST"),
        ("VICINATO_SMTP_PORT", "x", "VICINATO_SMTP_PORT"),
        ("VICINATO_KAFKA_USER", "x", "VICINATO_KAFKA_USER"),
        ("VICINATO_UP_OUTBOXCOPY", "/mnt/usb", "did you mean VICINATO_UP_OUTBOX_COPY?"),
        ("VICINATO_UP_COLOUR", "red", "VICINATO_UP_COLOUR is no setting"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: str, word: str) -> None:
    with pytest.raises(CommandError) as refusal:
        settings.load({name: value})
    assert refusal.value.code is Exit.SETTING
    assert word in refusal.value.english


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("VICINATO_FOO", "."),
        ("VICINATO_LOG_LEVLE", "; did you mean VICINATO_LOG_LEVEL?"),
    ],
)
def test_another_name_is_offered_where_one_is_like_it(name: str, end: str) -> None:
    with pytest.raises(CommandError) as refusal:
        settings.load({name: "x"})
    assert refusal.value.english.endswith(end)
    assert ("did you mean" in refusal.value.english) == ("did you mean" in end)


def test_a_secret_in_a_setting_is_not_repeated() -> None:
    with pytest.raises(CommandError) as refusal:
        settings.load({"DATABASE": "postgres://admin:hidden@host/db"})
    assert "hidden" not in refusal.value.english


def test_settings_not_given_have_their_defaults() -> None:
    found = settings.load({"PORT": "", "DATA": "x"})
    assert (found.port, found.database, found.address) == (8080, "sqlite", "http://localhost:8080")
    assert found.data == Path.cwd() / "x"
    assert dict(found.ports())["network"] == 8086


def test_the_command_line_says_it_in_two_languages(tmp_path: Path) -> None:
    refused(vicinato("up", PORT="eighty", DATA=str(tmp_path / "d")), Exit.SETTING, "PORT")
    assert not (tmp_path / "d").exists()


def test_what_the_client_of_kafka_says_besides_is_not_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger("aiokafka"), "handlers", [])
    monkeypatch.setattr(sys, "argv", ["vicinato", "logs", "nobody"])
    with pytest.raises(SystemExit):
        cli.main()
    capsys.readouterr()
    logging.getLogger("aiokafka.conn").error('Unable connect to "127.0.0.1:1"')
    assert not capsys.readouterr().err


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos.txt").write_text("x")
    done = vicinato("up", DATA=str(tmp_path), PORT=str(free_block()))
    refused(done, Exit.FOREIGN_FOLDER, str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["photos.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("")
    refused(vicinato("up", DATA=str(file)), Exit.FOREIGN_FOLDER, str(file))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    # A path below a device can be made by nobody, root included.
    refused(vicinato("up", DATA="/dev/null/data"), Exit.READ_ONLY_FOLDER, "DATA=")
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        refused(vicinato("up", DATA=str(tmp_path / "d")), Exit.READ_ONLY_FOLDER, "DATA=")


def test_data_of_a_newer_version(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text(json.dumps({"format": 99}))
    refused(vicinato("up", DATA=str(tmp_path)), Exit.NEWER_DATA, "99")


def test_a_second_copy_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.open()
    with folder.locked():
        done = vicinato("up", DATA=str(folder.root))
        refused(done, Exit.SECOND_COPY, str(os.getpid()))


@pytest.mark.parametrize("words", [("up",), ("verify",), ("backup",)])
def test_an_empty_house_is_not_opened_beside_the_one_that_is_there(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Who forgets DATABASE once would go on with other stores on the bus of the real ones."""
    folder = Folder(tmp_path / "data")
    folder.open()
    nothing_to_load(folder)
    told = {"DATA": str(folder.root), "PORT": str(free_block())}
    refused(vicinato(*words, **told), Exit.SETTING, "DATABASE=postgres?", "`vicinato restore`")
    assert list(folder.stores.iterdir()) == []
    (folder.stores / "cards.db").touch()
    done = vicinato(*words, **told, DATABASE="postgres")
    refused(done, Exit.SETTING, "DATABASE", str(folder.stores))
    assert not folder.postgres.exists()


WITHOUT_ROOTS_RIGHTS = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
@pytest.mark.parametrize(
    "words", [("status",), ("stop",), ("logs", "cards"), ("clock",), ("verify",), ("backup",)]
)
def test_who_may_not_read_the_folder_is_told_so(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = Folder(tmp_path / "data")
    folder.open()
    os.chown(folder.root, 65534, 65534)
    folder.root.chmod(0o700)
    done = vicinato(*words, before=WITHOUT_ROOTS_RIGHTS, DATA=str(folder.root))
    refused(done, Exit.READ_ONLY_FOLDER, "not for this user", str(folder.root))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = vicinato("up", DATA=str(tmp_path / "data"), PORT=str(port))
        refused(done, Exit.PORT_IN_USE, str(port), "front-door", "PORT=")


class ForRoot(socket.socket):
    """A socket of a user who may not have low ports."""

    def bind(self, address: Any) -> None:
        if address[1] < 1024:
            raise PermissionError(errno.EACCES, "Permission denied")
        super().bind(address)


def test_a_port_that_is_not_for_this_user_is_not_told_as_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "socket", ForRoot)
    with pytest.raises(CommandError) as refusal:
        checks.ports_are_free(settings.load({"PORT": "80"}))
    assert refusal.value.code is Exit.PORT_IN_USE
    assert "Port 80" in refusal.value.english
    assert "may not be used by this user" in refusal.value.english


def test_an_address_of_another_machine_is_a_wrong_setting(tmp_path: Path) -> None:
    port = str(free_block())
    done = vicinato("up", DATA=str(tmp_path / "data"), PORT=port, BIND="192.0.2.1")
    refused(done, Exit.SETTING, "BIND", "192.0.2.1")


@pytest.mark.parametrize("name", ["nowhere.example", "two..dots"])
def test_a_name_that_leads_nowhere_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def resolve(host: str, *_: object, **__: object) -> object:
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(CommandError) as refusal:
        checks.ports_are_free(settings.load({"BIND": name}))
    assert refusal.value.code is Exit.SETTING
    assert f"BIND: {name}" in refusal.value.english


def code_of(wanted: settings.Settings) -> Exit | None:
    try:
        checks.ports_are_free(wanted)
    except CommandError as refusal:
        return refusal.code
    return None


def test_the_newer_kind_of_addresses_is_looked_at_as_well() -> None:
    wanted = settings.load({"PORT": str(free_block()), "BIND": "::1"})
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", wanted.port))
        except OSError:  # a machine without
            assert code_of(wanted) is Exit.SETTING
            return
        taken.listen()
        assert code_of(wanted) is Exit.PORT_IN_USE
    assert code_of(wanted) is None


def test_no_network_at_the_first_start(tmp_path: Path) -> None:
    """Without the jars and without a way to Maven Central."""
    done = vicinato(
        "up",
        DATA=str(tmp_path / "data"),
        PORT=str(free_block()),
        VICINATO_UP_CACHE=str(tmp_path / "cache"),
        HTTPS_PROXY="http://127.0.0.1:9",
        https_proxy="http://127.0.0.1:9",
    )
    refused(done, Exit.NO_NETWORK, "network")


def test_an_old_python() -> None:
    with pytest.raises(CommandError) as refusal:
        checks.python_version((3, 10))
    assert refusal.value.code is Exit.OLD_PYTHON
    assert "3.10" in refusal.value.english


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_command_for_one_that_does_not_run(tmp_path: Path, command: str) -> None:
    refused(vicinato(command, DATA=str(tmp_path / "data")), Exit.NOT_RUNNING, "not running")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "database"),
    [
        ("verify", "sqlite"),
        ("verify --without-bus", "postgres"),
        ("migrate", "sqlite"),
        ("migrate", "postgres"),
        ("provision", "postgresql://postgres@127.0.0.1:9/postgres"),
    ],
)
def test_a_look_before_the_first_start_leaves_nothing(
    tmp_path: Path, words: str, database: str
) -> None:
    done = vicinato(*words.split(), DATA=str(tmp_path / "data"), DATABASE=database)
    refused(done, Exit.NOT_RUNNING, str(tmp_path / "data"), "make up")
    assert not (tmp_path / "data").exists()


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_container_has_the_secrets_that_were_put_into_it_and_makes_none(tmp_path: Path) -> None:
    """It has no data folder besides; the server of this test is away."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "store-cards").write_text("hidden")
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    put = contents(tmp_path)
    refused(vicinato("migrate", "cards", DATA=str(tmp_path), DATABASE=away), Exit.DATABASE)
    done = vicinato("migrate", "shop", DATA=str(tmp_path), DATABASE=away)
    refused(done, Exit.SETTING, str(tmp_path / "secrets" / "store-shop"))
    assert contents(tmp_path) == put


def test_an_unknown_command_or_log_is_no_traceback(tmp_path: Path) -> None:
    done = vicinato("dance")
    assert done.returncode == Exit.SETTING
    assert "Traceback" not in done.stderr
    refused(vicinato("logs", "dance", DATA=str(tmp_path)), Exit.REFUSED, "dance")


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.open()
    path = folder.kafka_secrets.path("cards")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert folder.secrets.folder.stat().st_mode & 0o777 == 0o700
    assert folder.kafka_secrets.get("cards") == folder.kafka_secrets.get("cards")


def test_logs_and_stores_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.open()
    folder.logs.chmod(0o755)  # as an earlier version left it
    folder.open()
    for inside in (folder.logs, folder.stores, folder.run, folder.front_door):
        assert inside.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[topics", "table declaration"),
        ("", "no topic"),
        ("[themes.x]\n", "themes"),
        ("[topics.x]\nreaders = []\n", "x: needs a writer"),
        ('[topics.x]\nwriter = "a"\n', "x: needs a list of readers"),
        ('[topics.x]\nwriter = "a"\nreaders = []\npartitions = 0\n', "x: partitions"),
        ('[topics.x]\nwriter = "a"\nreaders = []\ncolour = "red"\n', "x: unknown key colour"),
        ('[topics.x]\nwriter = "a"\nreaders = []\nconfig = { a = 1 }\n', "x: config"),
        ("[topics]\nx = 1\n", "x: is not a table"),
    ],
)
def test_a_list_of_topics_that_cannot_be_says_where(text: str, word: str) -> None:
    with pytest.raises(TopicsError, match=word):
        Topics.parse(text)


def test_event_topics_keep_everything_and_people_are_compacted() -> None:
    for topic in Topics.read():
        if topic.name == "cards.people":
            assert topic.config["cleanup.policy"] == "compact"
        else:
            assert topic.config["retention.ms"] == topic.config["retention.bytes"] == "-1"
