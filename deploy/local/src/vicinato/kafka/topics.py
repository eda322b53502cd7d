"""`topics.toml`, read and checked: who writes what, who reads what, how it is kept."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vicinato.paths import topics_file


class TopicsError(Exception):
    """The file is not a list of topics; says which entry and why."""


@dataclass(frozen=True)
class Topic:
    name: str
    writer: str
    readers: frozenset[str]
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Topics:
    topics: tuple[Topic, ...]

    def __iter__(self) -> Iterator[Topic]:
        return iter(self.topics)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(topic.name for topic in self.topics)

    @property
    def services(self) -> tuple[str, ...]:
        """Everybody who writes or reads, in order of appearance."""
        found: dict[str, None] = {}
        for topic in self.topics:
            found[topic.writer] = None
        for topic in self.topics:
            found.update(dict.fromkeys(sorted(topic.readers)))
        return tuple(found)

    @classmethod
    def read(cls, path: Path | None = None) -> Topics:
        path = path or topics_file()
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise TopicsError(f"{path}: {error.strerror}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, origin: str = "topics.toml") -> Topics:
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TopicsError(f"{origin}: {error}") from error
        unknown = set(document) - {"defaults", "topics"}
        if unknown:
            raise TopicsError(f"{origin}: unknown table {', '.join(sorted(unknown))}")
        defaults = document.get("defaults", {})
        entries = document.get("topics", {})
        if not isinstance(entries, dict) or not entries:
            raise TopicsError(f"{origin}: names no topic")
        return cls(tuple(_topic(name, entry, defaults, origin) for name, entry in entries.items()))


def _topic(name: str, entry: Any, defaults: dict[str, Any], origin: str) -> Topic:
    def wrong(why: str) -> TopicsError:
        return TopicsError(f"{origin}: {name}: {why}")

    if not isinstance(entry, dict):
        raise wrong("is not a table")
    unknown = set(entry) - {"writer", "readers", "partitions", "config"}
    if unknown:
        raise wrong(f"unknown key {', '.join(sorted(unknown))}")
    writer, readers = entry.get("writer"), entry.get("readers")
    if not isinstance(writer, str) or not writer:
        raise wrong("needs a writer")
    if not isinstance(readers, list) or not all(isinstance(r, str) and r for r in readers):
        raise wrong("needs a list of readers")
    partitions = entry.get("partitions", defaults.get("partitions", 1))
    if not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1:
        raise wrong("partitions must be a whole number from 1 up")
    config = {**defaults.get("config", {}), **entry.get("config", {})}
    if not all(isinstance(value, str) for value in config.values()):
        raise wrong("config values are text, in quotes")
    if config.get("cleanup.policy") == "compact":  # kept by key: limits by time do not apply
        config = {k: v for k, v in config.items() if not k.startswith("retention.")}
    return Topic(name, writer, frozenset(readers), partitions, config)
