"""`deploy/kafka/kafka.lock`: every jar of Kafka by coordinate and SHA-256.

Only the making of the lock resolves POMs (half a minute, network); everybody else fetches what is
written there and trusts nothing but the checksum.
"""

from __future__ import annotations

import hashlib
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from vicinato.paths import kafka_lock_file

KAFKA = "org.apache.kafka:kafka_2.13:4.3.0"
LOGGING = "org.slf4j:slf4j-simple:1.7.36"  # without a logger behind slf4j Kafka fails in silence
ROOTS = (KAFKA, LOGGING)


class LockError(Exception):
    """The lock file is missing or not what it should be."""


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def coordinate(self) -> str:
        parts = [self.group, self.artifact, self.version]
        return ":".join([*parts, self.classifier] if self.classifier else parts)

    @property
    def filename(self) -> str:
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{tail}.jar"


@dataclass(frozen=True)
class Lock:
    jars: tuple[Jar, ...]

    @property
    def digest(self) -> str:
        """Names the set of jars: another lock has another folder in the cache."""
        lines = "\n".join(f"{jar.coordinate} {jar.sha256}" for jar in self.jars)
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path | None = None) -> Lock:
        path = path or kafka_lock_file()
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            jars = tuple(_jar(at, str(sha256)) for at, sha256 in found["jars"].items())
        except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError, AttributeError) as error:
            raise LockError(
                f"{path} cannot be read as the list of Kafka's jars: {error}"
            ) from error
        return cls(jars)


def _jar(coordinate: str, sha256: str) -> Jar:
    parts = coordinate.split(":")
    if len(parts) not in (3, 4) or len(sha256) != 64:
        raise ValueError(f"{coordinate!r} = {sha256!r}")
    group, artifact, version = parts[:3]
    return Jar(group, artifact, version, parts[3] if len(parts) == 4 else "", sha256)


def resolve(roots: tuple[str, ...] = ROOTS) -> Lock:
    """Asks Maven's metadata which jars the roots need and takes their checksums."""
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        wanted = [context.create_dependency(root) for root in roots]
        inputs, needed = context.resolver.resolve(wanted)
        artifacts = {str(d.artifact): d.artifact for d in [*inputs, *needed]}
        jars = [
            Jar(a.groupId, a.artifactId, a.version, a.classifier or "", file_sha256(a.resolve()))
            for a in artifacts.values()
            if a.packaging == "jar"
        ]
    return Lock(tuple(sorted(jars, key=lambda jar: jar.coordinate)))


def write(lock: Lock, path: Path) -> None:
    lines = [
        "# The jars of Apache Kafka, by Maven coordinate and SHA-256.",
        "# Made by `vicinato lock-kafka`, not by hand.",
        "",
        "[jars]",
        *(f'"{jar.coordinate}" = "{jar.sha256}"' for jar in lock.jars),
    ]
    draft = path.with_suffix(".draft")
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft.replace(path)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
