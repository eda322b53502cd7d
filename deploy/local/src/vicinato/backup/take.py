"""A backup is taken: a moment of all stores, written into one file."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from vicinato.backup.archive import SECRETS, Manifest, Writer, product
from vicinato.backup.moment import Progress, moment
from vicinato.broken_off import Between
from vicinato.folder import Folder

NICE = 10


@dataclass(frozen=True)
class Order:
    """What to take: stores by service, into which file. `secrets` with the installation's secrets;
    `cluster` is the id of the Kafka cluster, "" when nobody knows it."""

    urls: Mapping[str, str]
    file: Path
    secrets: bool
    cluster: str


def take(
    folder: Folder,
    order: Order,
    begun: Callable[[int, float], Progress] = lambda _size, _held: lambda _done: None,
    between: Between = lambda: None,
) -> Manifest:
    """Takes the backup and returns what it is.

    `begun` is told how many bytes are about to be copied and for how many milliseconds writers were
    held up; what it gives is told of every piece. What `between` raises, between two pieces, breaks
    off; nothing of the backup is left then.

    Raises StoreAwayError, StoreDamagedError, and OSError when the file cannot be written.
    """
    with Writer(order.file) as writer, moment(order.urls, between) as caught:
        _stand_back()
        taken_at = datetime.now(UTC)
        told = begun(sum(one.size for one in caught.snapshots), caught.held_ms)

        def progress(done: int) -> None:
            between()
            told(done)

        facts = {}
        for one in caught.snapshots:
            part = one.copy(writer, progress)
            facts[one.name] = caught.facts(one, part)
        if order.secrets:
            _secrets(folder, writer)
        sqlite = all(url.startswith("sqlite") for url in order.urls.values())
        manifest = Manifest(
            id=str(uuid.uuid4()),
            installation=folder.installation(),
            machine=folder.machine(),
            product=product(),
            engine="sqlite" if sqlite else "postgresql",
            taken_at=taken_at,
            held_ms=round(caught.held_ms, 1),
            cluster=order.cluster,
            centres=caught.centres(),
            stores=facts,
            secrets=order.secrets,
            parts=writer.parts,
        )
        writer.close(manifest)
        return manifest


def _stand_back() -> None:
    """From now on everybody else comes first."""
    os.nice(NICE)
    with_idle = getattr(psutil, "IOPRIO_CLASS_IDLE", None)
    if with_idle is not None:
        psutil.Process().ionice(with_idle)


def _secrets(folder: Folder, writer: Writer) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder.secrets.folder, arcname="secrets")
    with writer.part(SECRETS) as member:
        member.write(packed.getvalue())
        member.whole = len(gzip.decompress(packed.getvalue()))


def own_cluster(folder: Folder) -> str:
    """The id of our own Kafka's cluster, as its storage has it."""
    meta = folder.kafka / "log" / "meta.properties"
    if not meta.is_file():
        return ""
    lines = meta.read_text(encoding="utf-8").splitlines()
    return next((one.removeprefix("cluster.id=") for one in lines if "cluster.id=" in one), "")
