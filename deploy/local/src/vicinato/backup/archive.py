"""The file of a backup: an uncompressed tar whose parts are compressed, and a manifest at its end.

A file that was broken off has no manifest, hence is no backup. Every part is named there with its
length and SHA-256, and the manifest says its own, so that no byte that counts can be another than
it was. Nobody but the owner can read the file at any moment: it holds personal data.
Until it is whole it is a draft with a name of its own, locked by whoever writes it. A draft that
nobody holds was broken off by a kill or a loss of power; the next backup removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Literal

from pydantic import BaseModel, ValidationError, model_validator

from vicinato.settings import SERVICES

FORMAT = 1
MANIFEST = "manifest.json"
SECRETS = "secrets.tar.gz"
_BLOCK = 512
_AT_ONCE = 1 << 20
_SYNC_EVERY = 16 << 20
"""Bytes; a gigabyte that is flushed at once would hold up everybody else's commits."""


class BadBackupError(Exception):
    """The file is no backup, or not whole any more. One sentence without its end."""


class NewerBackupError(Exception):
    """The file was written by a newer version."""


class Part(BaseModel):
    """One member of the file. `length` and `sha256` as it lies there, `whole` unpacked."""

    name: str
    length: int
    whole: int
    sha256: str


class Place(BaseModel):
    """How far a store had read (``in``) or written (``out``) a partition."""

    side: str
    topic: str
    partition: int
    offset: int
    era: int


class StoreFacts(BaseModel):
    """What a store was at the moment: schema, places, the last row of its outbox and how many rows
    were not on the bus."""

    part: str
    revision: str
    places: list[Place]
    last_row: int
    unsent: int


class Centre(BaseModel):
    id: str
    name: str


class Manifest(BaseModel):
    """What the backup is. `machine`: whose secrets its stores go with (`Folder.machine`). `sum`:
    the SHA-256 of its own text with nothing in the place of this; earlier versions wrote none."""

    format: int = FORMAT
    id: str
    installation: str
    machine: str = ""
    product: str
    engine: Literal["sqlite", "postgresql"]
    taken_at: datetime
    held_ms: float
    cluster: str
    centres: list[Centre]
    stores: dict[str, StoreFacts]
    secrets: bool
    parts: list[Part]
    sum: str = ""

    @model_validator(mode="after")
    def _stores_have_their_parts(self) -> Manifest:
        missing = {one.part for one in self.stores.values()} - {one.name for one in self.parts}
        if missing:
            raise ValueError(f"no part {', '.join(sorted(missing))}")
        return self

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def text(self) -> bytes:
        """As it lies in the file, with its sum."""
        bare = self.model_copy(update={"sum": ""}).model_dump_json(indent=1).encode()
        return self.model_copy(update={"sum": _digest(bare)}).model_dump_json(indent=1).encode()


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def product() -> str:
    """The version of this software."""
    return version("vicinato")


class Writer:
    """Writes a backup beside its name; it gets the name once it is whole and on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path
        self.parts: list[Part] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Writer:
        sweep(self.path.parent)
        self._file, self.draft = _new_draft(self.path.parent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self.draft.unlink(missing_ok=True)
            self._file.close()

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A file beside the draft, for its owner only and for as long as it is needed; it goes with
        the draft."""
        path = self.draft.with_name(f"{self.draft.name}.{name}")
        path.touch(0o600, exist_ok=False)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def part(self, name: str) -> Iterator[Measured]:
        """A member to write to; ``whole`` is for the caller to set, when it compresses."""
        assert self._file is not None
        begin = self._file.tell()
        self._file.write(bytes(_BLOCK))
        target = Measured(self._file)
        yield target
        self._file.write(bytes(-target.length % _BLOCK))
        end = self._file.tell()
        self._file.seek(begin)
        info = tarfile.TarInfo(name)
        info.size, info.mode = target.length, 0o600
        self._file.write(info.tobuf(tarfile.GNU_FORMAT))
        self._file.seek(end)
        self.parts.append(
            Part(
                name=name,
                length=target.length,
                whole=target.whole or target.length,
                sha256=target.digest.hexdigest(),
            )
        )

    def close(self, manifest: Manifest) -> None:
        """Writes the manifest and gives the file its name."""
        with self.part(MANIFEST) as target:
            target.write(manifest.text())
        assert self._file is not None
        self._file.write(bytes(2 * _BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.draft.rename(self.path)
        self._file.close()
        self._file = None
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


DRAFT = ".vicinato-"
"""How the names of drafts begin, whatever the backup is called: what begins so is ours."""


def sweep(folder: Path) -> None:
    """Removes what broken-off backups have left in a folder. What somebody holds stays, and what
    is on a disk where nobody can tell."""
    for draft in folder.glob(f"{DRAFT}*.part"):
        with contextlib.suppress(OSError), draft.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for scratch in folder.glob(f"{draft.name}.*"):
                scratch.unlink()
            draft.unlink()
    for old in folder.glob(f"{DRAFT}????????"):  # where earlier versions kept a store meanwhile
        with contextlib.suppress(OSError):
            left = {one.name for one in old.iterdir()}
            if left and not old.is_symlink() and left <= {f"{name}.db" for name in SERVICES}:
                shutil.rmtree(old)


def _new_draft(folder: Path) -> tuple[IO[bytes], Path]:
    """A draft that is locked; made again when it was swept before it could be."""
    while True:
        descriptor, name = tempfile.mkstemp(".part", DRAFT, folder)
        draft = Path(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        except OSError:  # a disk without locks: nobody sweeps there
            return os.fdopen(descriptor, "w+b"), draft
        if draft.exists():
            return os.fdopen(descriptor, "w+b"), draft
        os.close(descriptor)


class Measured:
    """A file that counts and digests what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.length = 0
        self.whole = 0
        self.digest = hashlib.sha256()
        self._file = file
        self._synced = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.digest.update(data)
        self.length += len(data)
        if self.length - self._synced > _SYNC_EVERY:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._synced = self.length
        return len(data)

    def flush(self) -> None:
        """What compressors ask for at their end; the file is flushed when it is whole."""


class Backup:
    """A backup that is there. Opening reads the manifest; `check` reads everything."""

    def __init__(self, path: Path) -> None:
        """Raises BadBackupError, NewerBackupError, or OSError when it cannot be read."""
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self._places = {m.name: (m.offset_data, m.size) for m in tar.getmembers()}
        except tarfile.TarError as error:
            raise BadBackupError("it is no backup of Vicinato, or not whole") from error
        if MANIFEST not in self._places:
            raise BadBackupError("it is no backup of Vicinato, or not whole: it has no manifest")
        try:
            text = b"".join(self._read(MANIFEST))
            found = AnyManifest.model_validate_json(text)
            if not found.is_whole(text):
                raise BadBackupError("its manifest is damaged (its SHA-256 is another)")
            if found.format > FORMAT:
                raise NewerBackupError(f"format {found.format}")
            self.manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise BadBackupError("its manifest cannot be read") from error

    def check(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Every part is there and as it was written. Raises BadBackupError."""
        for part in self.manifest.parts:
            digest = hashlib.sha256()
            for piece in self._read(part.name):
                digest.update(piece)
                progress(len(piece))
            if digest.hexdigest() != part.sha256:
                raise BadBackupError(f"{part.name} in it is damaged (its SHA-256 is another)")

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A part, to be read from its beginning."""
        with tarfile.open(self.path, "r:") as tar:
            member = tar.extractfile(name)
            assert member is not None
            with member:
                yield member  # type: ignore[misc]

    def _read(self, name: str) -> Iterator[bytes]:
        if name not in self._places:
            raise BadBackupError(f"{name} is missing in it")
        begin, left = self._places[name]
        with self.path.open("rb") as file:
            file.seek(begin)
            while left:
                piece = file.read(min(left, _AT_ONCE))
                if not piece:
                    raise BadBackupError(f"{name} in it ends too early")
                left -= len(piece)
                yield piece


class AnyManifest(BaseModel):
    """As much of any version's manifest as says which version it is, and whether it is whole."""

    format: int
    sum: str = ""

    def is_whole(self, text: bytes) -> bool:
        """Whether `text`, from which it was read, has its sum."""
        bare = text.replace(f'"{self.sum}"'.encode(), b'""', 1)
        return not self.sum or _digest(bare) == self.sum
