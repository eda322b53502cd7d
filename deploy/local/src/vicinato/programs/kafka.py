"""Our own Kafka under the supervisor: ready when topics, users and rights are as the file says."""

from __future__ import annotations

import asyncio

from vicinato import steps
from vicinato.child import NotReadyError, Program
from vicinato.folder import Folder
from vicinato.kafka.broker import ADMIN, ENVIRONMENT, Broker
from vicinato.kafka.unreadable import Unreadable
from vicinato.ports import answers
from vicinato.refusals import others_kafka
from vicinato.settings import SERVICES, Settings


def kafka(settings: Settings, folder: Folder) -> Program:
    """What is not formatted is formatted at every start: a log that was lost is made anew, and the
    services notice it by the era. So is one with which it does not start."""
    broker = Broker(
        folder.kafka, settings.kafka_port, settings.controller_port, folder.kafka_secrets
    )
    # What a restore takes back is perhaps on the bus alone.
    unreadable = Unreadable(broker, folder.aside, kept=folder.restore.exists)

    async def probe() -> None:
        if not await asyncio.to_thread(answers, settings.kafka_port):
            raise NotReadyError("nobody listens yet")
        await provision(settings, folder)
        unreadable.started()

    async def failed(code: int) -> str:
        return await asyncio.to_thread(unreadable.failed, code)

    async def alive() -> None:
        if not await asyncio.to_thread(answers, settings.kafka_port, within=2.0):
            raise NotReadyError("does not answer")

    return Program(
        name="kafka",
        command=broker.command,
        log=folder.log("kafka"),
        port=settings.kafka_port,
        folder=folder.kafka,
        env=ENVIRONMENT,
        prepare=lambda: asyncio.to_thread(broker.prepare),
        probe=probe,
        alive=alive,
        failed=failed,
        ready_within=settings.ready_within,
    )


async def provision(settings: Settings, folder: Folder) -> str:
    """Applies `topics.toml` to our Kafka, or to the one of KAFKA; what was not as it says. Ours is
    the folder's, whatever installation that becomes by a restore.

    Raises NotReadyError; CommandError when KAFKA is another installation's."""
    secrets = folder.kafka_secrets
    order = {
        **_administrator(settings, folder),
        "secrets": {service: secrets.get(service) for service in SERVICES},
        "own": settings.own_kafka,
        "installation": folder.installation(),
    }
    try:
        done = await steps.run("provision", order, folder.log("supervisor"))
    except steps.StepError as error:
        if error.kind == "NotOursError":
            raise others_kafka(settings.bootstrap, str(error)) from error
        raise NotReadyError(str(error)) from error
    found = [f"{topic} was not there" for topic in done["topics_made"]]
    found += [f"{topic} had other settings" for topic in done["topics_changed"]]
    if done["rights_given"]:
        found.append(f"{done['rights_given']} rights were not there")
    if done["rights_taken"]:
        found.append(f"{done['rights_taken']} rights were too many")
    return ", ".join(found)


async def delete_damaged(settings: Settings, folder: Folder) -> str:
    """Deletes the topics that a disk has damaged, to be made anew; which partitions were.

    Raises NotReadyError."""
    order = _administrator(settings, folder)
    try:
        found = await steps.run("delete_damaged", order, folder.log("supervisor"), within=600.0)
    except steps.StepError as error:
        raise NotReadyError(str(error)) from error
    return ", ".join(found)


def _administrator(settings: Settings, folder: Folder) -> dict[str, str]:
    """Where Kafka is, and who may do all there."""
    if settings.kafka_admin_secret_file is None:
        user, secret = ADMIN, folder.kafka_secrets.get(ADMIN)
    else:
        user = settings.kafka_admin_user
        secret = settings.kafka_admin_secret_file.read_text(encoding="utf-8").strip()
    return {"bootstrap": settings.bootstrap, "user": user, "secret": secret}
