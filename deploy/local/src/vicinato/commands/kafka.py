"""`vicinato lock-kafka` and `vicinato fetch-kafka`."""

from __future__ import annotations

import typer

from vicinato.kafka import BrokerError, ProvisioningError, jars, lock, warm
from vicinato.paths import kafka_lock_file
from vicinato.refusals import CommandError, Exit


def register(app: typer.Typer) -> None:
    app.command("fetch-kafka")(fetch_kafka)
    app.command("lock-kafka")(lock_kafka)


def fetch_kafka() -> None:
    """Fetch Kafka's jars into the cache, by the lock; check those that are there.

    Then Kafka is started once, so that the JVM keeps its classes ready (some 10 s, once).
    """
    try:
        jars.fetch()
        jars.verify()
    except (jars.JarError, lock.LockError) as error:
        raise CommandError(
            Exit.NO_NETWORK,
            f"Kafka's jars are not complete: {error}",
            "I file di Kafka non sono completi; al primo avvio serve la rete.",
        ) from error
    print(f"Kafka's jars are in {jars.jars_folder(lock.Lock.read())}")
    try:
        warm.warm()
    except (BrokerError, ProvisioningError) as error:  # it starts without as well
        print(f"Kafka's classes are not kept ready: {error}")


def lock_kafka() -> None:
    """Resolve Kafka's jars anew and write deploy/kafka/kafka.lock (half a minute, network)."""
    path = kafka_lock_file()
    made = lock.resolve()
    lock.write(made, path)
    print(f"{len(made.jars)} jars written to {path}")
