"""What the supervisor runs: Kafka, PostgreSQL, the services, the front door."""

from __future__ import annotations

from vicinato.programs.front_door import front_door
from vicinato.programs.kafka import kafka
from vicinato.programs.postgresql import postgresql, server_url
from vicinato.programs.service import service

__all__ = ["front_door", "kafka", "postgresql", "server_url", "service"]
