"""Planted words found: in every file of a data folder, every row of every store, on the bus."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from house import House

from contracts import people
from vicinato.kafka.broker import ADMIN

PLACES: dict[str, set[str]] = {
    "cards": {"person", "search_word", f"outbox of {people.TOPIC}"},
    "activities": {"person_seen"},
    "notifications": {"person_contact"},
    "network": {"person_known", "referral_text"},
    "identity": {"account"},
    "shop": set(),
}
"""The tables in which names, dates, contacts and what was confided may lie (`docs/security.md`)."""


def forms(word: str) -> set[bytes]:
    """A word in the ways in which it could be written down, in small letters."""
    plain = word.encode()
    written = {
        plain,
        word.encode("utf-16-le"),
        word.encode("utf-16-be"),
        json.dumps(word)[1:-1].encode(),
        quote(word, safe="").encode(),
        quote_plus(word).encode(),
        plain.hex().encode(),
    }
    for offset in range(3):  # base64 looks different by where in three bytes the word begins
        coded = base64.b64encode(b"\0" * offset + plain)[4 if offset else 0 :]
        whole = coded[: len(coded) // 4 * 4 - 4]
        written |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return {form.lower() for form in written if len(form) >= 6}


class Words:
    """Planted words and all their forms."""

    def __init__(self, words: Iterable[str]) -> None:
        self._forms = {word: forms(word) for word in words}

    def within(self, data: bytes) -> set[str]:
        """The words of which some form is there."""
        low = data.lower()
        return {word for word, ways in self._forms.items() if any(way in low for way in ways)}


def in_files(root: Path, words: Words) -> dict[str, set[str]]:
    """The words by the file in which they are found. Holes of sparse files are not read."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        try:
            data = b"".join(_pieces(path))
        except FileNotFoundError:  # a log that went round meanwhile
            continue
        if there := words.within(data) | words.within(path.name.encode()):
            found[str(path.relative_to(root))] = there
    return found


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return
            until = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            yield os.pread(file.fileno(), until - at, at)
            at = until


def in_rows(store: Path, words: Words) -> dict[str, set[str]]:
    """The words by the table of a SQLite store; rows of the outbox by their topic."""
    found: dict[str, set[str]] = {}
    connection = sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    connection.text_factory = bytes
    try:
        tables = [row[0].decode() for row in connection.execute(_TABLES)]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                cells = b"\0".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
                if there := words.within(cells):
                    place = f"outbox of {row['topic'].decode()}" if table == "outbox" else table
                    found.setdefault(place, set()).update(there)
    finally:
        connection.close()
    return found


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def on_the_bus(house: House, words: Words) -> dict[str, set[str]]:
    """The words by topic, as a consumer reads all records (whatever packs them on the disk)."""
    consumer = Consumer(
        {
            **_client(house),
            "group.id": ADMIN,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found: dict[str, set[str]] = {}
    try:
        topics = consumer.list_topics(timeout=10).topics
        places = [
            TopicPartition(name, number, OFFSET_BEGINNING)
            for name, topic in topics.items()
            for number in topic.partitions
        ]
        consumer.assign(places)
        unread = {(place.topic, place.partition) for place in places}
        while unread:
            record = consumer.poll(10)
            if record is None:
                continue
            if record.error():
                unread.discard((record.topic(), record.partition()))
                continue
            head = [name.encode() + b"=" + (value or b"") for name, value in record.headers() or ()]
            data = b"\0".join([record.key() or b"", record.value() or b"", *head])
            if there := words.within(data):
                found.setdefault(record.topic(), set()).update(there)
    finally:
        consumer.close()
    return found


def compacts_soon(house: House, topic: str) -> None:
    """Have the broker end a topic's segments and clean them within a second, not hours."""
    admin = AdminClient(_client(house))  # kept: its answers end with it
    (broker,) = admin.list_topics(timeout=10).brokers
    changes = {"segment.ms": 100, "max.compaction.lag.ms": 100, "file.delete.delay.ms": 100}
    for kind, name, values in (
        (ResourceType.TOPIC, topic, changes),
        # Its cleaner looks every quarter of a minute by itself.
        (ResourceType.BROKER, str(broker), {"log.cleaner.backoff.ms": 200}),
    ):
        resource = ConfigResource(
            kind,
            name,
            incremental_configs=[
                ConfigEntry(key, str(value), incremental_operation=AlterConfigOpType.SET)
                for key, value in values.items()
            ],
        )
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(timeout=30)


def _client(house: House) -> dict[str, str]:
    return {
        "bootstrap.servers": house.settings.bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": ADMIN,
        "sasl.password": house.folder.kafka_secrets.get(ADMIN),
    }
