"""`vicinato provision` and `vicinato migrate`: what comes before the services in containers.

Both read the settings and the secrets of `vicinato up` (KAFKA, DATABASE, DATA), change nothing that
is as it should be, and may be run again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from vicinato import settings
from vicinato.folder import Folder
from vicinato.refusals import CommandError, Exit, newer_data, others_kafka


def register(app: typer.Typer) -> None:
    app.command()(provision)
    app.command()(migrate)


def provision(
    take_over: Annotated[
        bool, typer.Option("--take-over", help="The cluster is another installation's no more.")
    ] = False,
) -> None:
    """Make topics, users and rights on the cluster of KAFKA, and databases and roles on the server
    of DATABASE, as `topics.toml` and the secrets say."""
    wanted = settings.load()
    folder = Folder(wanted.data)
    others_server = wanted.engine == "postgresql" and not wanted.own_postgres
    if wanted.own_kafka and (take_over or not others_server):
        raise CommandError(
            Exit.SETTING,
            "KAFKA=host:port or DATABASE=postgresql://… must say what is to be provisioned, and"
            " KAFKA what is to be taken over.",
            "KAFKA=host:port o DATABASE=postgresql://… deve dire che cosa preparare, e KAFKA che"
            " cosa prendere in carico.",
        )
    folder.expect(or_secrets=True)
    if not wanted.own_kafka:
        _bus(wanted, folder, take_over=take_over)
    if others_server:
        _databases(wanted, folder)


def migrate(
    service: Annotated[str, typer.Argument(help="One of the six; all when none.")] = "",
) -> None:
    """Bring the schema of the stores at DATABASE to what this program needs."""
    from vicinato.programs.service import store_url

    if service and service not in settings.SERVICES:
        raise CommandError(
            Exit.REFUSED,
            f"There is no service {service}; there are {', '.join(settings.SERVICES)}.",
            f"Non c'è un servizio {service}; ci sono {', '.join(settings.SERVICES)}.",
        )
    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.expect(or_secrets=wanted.engine == "postgresql")
    names = [service] if service else settings.SERVICES
    bring_up({name: store_url(name, wanted, folder) for name in names})
    print(f"Up to date: {', '.join(names)}.")


def bring_up(urls: Mapping[str, str]) -> None:
    """The schema of each service's store. Every refusal is a CommandError."""
    from runtime.failures import is_transient
    from runtime.logging import told
    from runtime.migrations import MigrationError, NewerDataError
    from vicinato.databases import migrate as bring

    try:
        bring(urls)
    except NewerDataError as error:
        raise newer_data(str(error)) from error
    except MigrationError as error:
        raise CommandError(
            Exit.MIGRATION,
            f"{error}.",
            "La base di dati non si può portare a questa versione.",
        ) from error
    except Exception as error:
        if not is_transient(error):
            raise
        raise no_database(told(error)) from error


def _databases(wanted: settings.Settings, folder: Folder) -> None:
    import psycopg

    from vicinato.databases import create
    from vicinato.programs import server_url
    from vicinato.programs.service import store_url

    urls = {name: store_url(name, wanted, folder) for name in settings.SERVICES}
    try:
        create(server_url(wanted, folder.secrets), urls)
    except psycopg.OperationalError as error:
        raise no_database(str(error).splitlines()[0]) from error
    print(f"Databases and roles: {', '.join(settings.SERVICES)}.")


def _bus(wanted: settings.Settings, folder: Folder, *, take_over: bool) -> None:
    from vicinato.kafka.provision import ProvisioningError, admin_client
    from vicinato.kafka.provision import provision as apply
    from vicinato.kafka.topics import Topics
    from vicinato.kafka.whose import NotOursError, claim

    assert wanted.kafka_admin_secret_file is not None
    secret = wanted.kafka_admin_secret_file.read_text(encoding="utf-8").strip()
    admin = admin_client(wanted.bootstrap, wanted.kafka_admin_user, secret)
    topics = Topics.read()
    secrets = {name: folder.kafka_secrets.get(name) for name in settings.SERVICES}
    try:
        claim(admin, topics, secrets, folder.installation(), take_over=take_over)
        done = apply(admin, topics, secrets)
    except NotOursError as error:
        raise others_kafka(wanted.bootstrap, str(error)) from error
    except ProvisioningError as error:
        raise CommandError(
            Exit.KAFKA, f"{error}.", "Kafka non ha accettato, o non risponde."
        ) from error
    print(
        f"Topics made: {', '.join(done.topics_made) or 'none'};"
        f" changed: {', '.join(done.topics_changed) or 'none'};"
        f" rights given: {done.rights_given}, taken: {done.rights_taken}."
    )


def no_database(why: str) -> CommandError:
    """Nobody answers at DATABASE."""
    return CommandError(
        Exit.DATABASE,
        f"The database server does not answer: {why}.",
        "Il server della base di dati non risponde.",
    )
