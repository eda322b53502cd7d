"""Vicinato on one machine: the supervisor, the real Kafka, the front door, the command line."""
