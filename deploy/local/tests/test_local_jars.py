"""Kafka's jars: as locked or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vicinato.kafka import jars
from vicinato.kafka.jars import JarError, fetch, jars_folder, verify
from vicinato.kafka.lock import Lock, LockError, write


def one_jar() -> Lock:
    """The smallest of the real lock."""
    return Lock(tuple(jar for jar in Lock.read().jars if jar.artifact == "slf4j-simple"))


@pytest.fixture
def from_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven Central, as far as the machine's own cache of jars."""
    real = {jar.filename: path for jar, path in zip(Lock.read().jars, fetch(), strict=True)}

    def deliver(jar: object, repository: Path) -> Path:
        repository.mkdir(parents=True)
        name = jar.filename  # type: ignore[attr-defined]
        (repository / name).write_bytes(real[name].read_bytes())
        return repository / name

    monkeypatch.setattr(jars, "_from_repository", deliver)


@pytest.mark.usefixtures("from_cache")
def test_a_fetched_jar_is_the_locked_one(tmp_path: Path) -> None:
    (path,) = fetch(one_jar(), tmp_path)
    assert path.name == "slf4j-simple-1.7.36.jar"
    verify(one_jar(), tmp_path)


@pytest.mark.usefixtures("from_cache")
def test_a_jar_with_another_checksum_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (jar,) = one_jar().jars
    wrong = Lock((replace(jar, sha256="0" * 64),))
    with pytest.raises(JarError, match=r"slf4j-simple-1\.7\.36\.jar has SHA-256"):
        fetch(wrong, tmp_path)
    assert not list((tmp_path / "kafka").iterdir())


@pytest.mark.usefixtures("from_cache")
def test_a_jar_damaged_on_the_disk_is_found_and_fetched_again(tmp_path: Path) -> None:
    (path,) = fetch(one_jar(), tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(JarError, match="damaged"):
        verify(one_jar(), tmp_path)
    fetch(one_jar(), tmp_path)
    verify(one_jar(), tmp_path)


def test_a_broken_connection_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_jar: object, repository: Path) -> Path:
        repository.mkdir(parents=True)
        (repository / "half.jar").write_bytes(b"PK")
        raise ConnectionError("cut")

    monkeypatch.setattr(jars, "_from_repository", broken)
    with pytest.raises(JarError, match="could not be fetched"):
        fetch(one_jar(), tmp_path)
    assert not list((tmp_path / "kafka").iterdir())


def test_the_lock_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "kafka.lock"
    write(Lock.read(), path)
    assert Lock.read(path) == Lock.read()
    assert jars_folder(Lock.read(path)) == jars_folder(Lock.read())


@pytest.mark.parametrize("text", ["", "[jars", '[jars]\n"a:b" = "00"', '[jars]\n"a:b:1" = "00"'])
def test_a_lock_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kafka.lock"
    path.write_text(text)
    with pytest.raises(LockError, match=r"kafka\.lock"):
        Lock.read(path)
