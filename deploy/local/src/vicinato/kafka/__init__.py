"""The real Apache Kafka without Java, Maven or Docker: fetched, formatted, started, provisioned."""

from __future__ import annotations

from vicinato.kafka.broker import Broker, BrokerError
from vicinato.kafka.jars import JarError, fetch
from vicinato.kafka.provision import ProvisioningError, provision
from vicinato.kafka.topics import Topic, Topics, TopicsError

__all__ = [
    "Broker",
    "BrokerError",
    "JarError",
    "ProvisioningError",
    "Topic",
    "Topics",
    "TopicsError",
    "fetch",
    "provision",
]
