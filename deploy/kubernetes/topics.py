"""Topics and users for Strimzi, written anew from topics.toml by `make docs`.

The same rights that `vicinato provision` gives; a test compares both, and that the file is current.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vicinato.kafka.topics import Topic, Topics

FILE = Path(__file__).parent / "operators" / "topics.yaml"
HEAD = """\
# Made from deploy/kafka/topics.toml by `make docs`; not to be changed by hand.
"""
REPLICAS = 3


def topic(one: Topic) -> dict[str, Any]:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": one.name, "labels": {"strimzi.io/cluster": "vicinato"}},
        "spec": {"partitions": one.partitions, "replicas": REPLICAS, "config": dict(one.config)},
    }


def user(name: str, topics: Topics) -> dict[str, Any]:
    rights = []
    for one in topics:
        operations = []
        if name in one.readers | {one.writer}:
            operations += ["Read", "Describe"]
        if name == one.writer:
            operations.append("Write")
        if operations:
            rights.append(_right("topic", one.name, "literal", operations))
    rights.append(_right("group", name, "prefix", ["Read"]))
    return _user(name, {"authorization": {"type": "simple", "acls": rights}})


def _right(kind: str, name: str, pattern: str, operations: list[str]) -> dict[str, Any]:
    resource = {"type": kind, "name": name, "patternType": pattern}
    return {"resource": resource, "operations": operations, "host": "*"}


def _user(name: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": name, "labels": {"strimzi.io/cluster": "vicinato"}},
        "spec": {"authentication": {"type": "scram-sha-512"}, **more},
    }


def text(topics: Topics) -> str:
    """The file. `admin` has no rights to list: it is a super user of the cluster."""
    documents = [*map(topic, topics), *(user(name, topics) for name in topics.services)]
    documents.append(_user("admin", {}))
    return HEAD + yaml.safe_dump_all(documents, sort_keys=False, width=100)


if __name__ == "__main__":
    FILE.write_text(text(Topics.read()), encoding="utf-8")
