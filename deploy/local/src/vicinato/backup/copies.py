"""A second copy of every outbox on another disk: facts that are acknowledged and not on the bus yet
outlive the machine's own disk, but for the last minute.

Rows are appended to one file for each store, JSON lines, on the disk before the step ends. A file
belongs to one life of a store: after a restore the numbers of its rows begin anew, and so does a
file. What was told of a person who is erased goes from the files before they say that it is erased:
whatever breaks the step off, the next one does it again.

Each line ends with its own sum: a disk that gives back other bytes than it got tells no other fact.
What it has damaged so is written once more when the copying begins anew, and is counted by a
restore, which goes on without it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg

COLUMNS = ("row", "id", "topic", "key", "previous", "cause", "type", "headers", "body", "at")
_ROWS = (
    'SELECT "row", id, topic, key, previous, cause, type, headers, body, at FROM outbox'
    ' WHERE "row" > {0} AND "row" <= {0} ORDER BY "row" LIMIT 5000'
)
_ERASED = (
    "SELECT DISTINCT key FROM outbox"
    ' WHERE "row" > {0} AND "row" <= {0} AND topic = {0} AND body IS NULL'
)
AT_ONCE = 5_000
PEOPLE = "cards.people"
LIFE = "restoring.life"


class CopyError(Exception):
    """A copy could not be made. One sentence."""


class _Outbox(Protocol):
    def life(self) -> str:
        """Which backup this store came from; "" for none."""

    def last(self) -> int:
        """The last row before which none is still to come."""

    def rows(self, after: int, until: int) -> Sequence[Sequence[Any]]: ...

    def erased(self, after: int, until: int) -> set[str]:
        """Who is erased by one of these rows."""


@dataclass(frozen=True)
class _Sqlite:
    connection: sqlite3.Connection

    def life(self) -> str:
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (LIFE,)).fetchone()
        return str(found[0]) if found else ""

    def last(self) -> int:
        found = self.connection.execute('SELECT max("row") FROM outbox').fetchone()
        return int(found[0] or 0)

    def rows(self, after: int, until: int) -> Sequence[Sequence[Any]]:
        return self.connection.execute(_ROWS.format("?"), (after, until)).fetchall()

    def erased(self, after: int, until: int) -> set[str]:
        rows = self.connection.execute(_ERASED.format("?"), (after, until, PEOPLE))
        return {row[0] for row in rows}


@dataclass(frozen=True)
class _Postgresql:
    connection: psycopg.Connection[Any]

    def life(self) -> str:
        words = "SELECT value FROM meta WHERE name = %s"
        found = self.connection.execute(words, (LIFE,)).fetchone()
        return str(found[0]) if found else ""

    def last(self) -> int:
        """Numbers are given before the commit: who writes now is waited for, for a moment."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL lock_timeout = '2s'")
            self.connection.execute("LOCK TABLE outbox IN SHARE MODE")
            found = self.connection.execute('SELECT max("row") FROM outbox').fetchone()
        return int(found[0] or 0) if found else 0

    def rows(self, after: int, until: int) -> Sequence[Sequence[Any]]:
        return self.connection.execute(_ROWS.format("%s").encode(), (after, until)).fetchall()

    def erased(self, after: int, until: int) -> set[str]:
        rows = self.connection.execute(_ERASED.format("%s").encode(), (after, until, PEOPLE))
        return {row[0] for row in rows}


def copy(service: str, url: str, folder: Path, *, mend: bool = False) -> int:
    """Appends what is new in the store's outbox; how many rows. `mend`: all that is there is looked
    through first. Raises CopyError."""
    try:
        found = _looked_through(service, folder) if mend else _Found({}, set())
        with _opened(url) as outbox:
            path = folder / f"{service}.{outbox.life() or 'first'}.jsonl"
            after, until, count = _last(path), outbox.last(), 0
            again = found.damaged.get(path)
            after = after if again is None else again.whole_until
            if erased := outbox.erased(after, until):
                for file in folder.glob(f"{service}.*.jsonl"):
                    _empty(file, erased)
            while after < until and (rows := outbox.rows(after, until)):
                _append(path, [r for r in rows if not (_is_told(r[2], r[8]) and r[3] in erased)])
                after, count = int(rows[-1][0]), count + len(rows)
            if again is not None:
                _blank(path, lambda at, _line: again.begin <= at < again.end)
            if found.erased:
                for file in folder.glob(f"{service}.*.jsonl"):
                    _empty(file, found.erased)
            return count
    except OSError as error:
        raise CopyError(f"{folder} cannot be written ({error.strerror})") from error
    except (sqlite3.Error, psycopg.Error) as error:
        raise CopyError(
            f"the store of {service} cannot be read ({type(error).__name__})"
        ) from error


@contextmanager
def _opened(url: str) -> Iterator[_Outbox]:
    if url.startswith("sqlite:///"):
        uri = f"{Path(url.removeprefix('sqlite:///')).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            yield _Sqlite(connection)
    else:
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as server:
            yield _Postgresql(server)


def _last(path: Path) -> int:
    """The last row of the file that can be read. A line that was cut by a loss of power goes."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        tail, whole, at, last = b"", 0, end, None
        while at and last is None:
            step = min(at, 1 << 16)
            at -= step
            file.seek(at)
            tail = file.read(step) + tail
            whole = tail.rfind(b"\n") + 1
            lines = reversed(tail[:whole].splitlines())
            last = next((row for line in lines if (row := _row(line)) is not None), None)
        if whole < len(tail):
            file.truncate(end - len(tail) + whole)
    return int(last["row"]) if last else 0


def _append(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        for row in rows:
            file.write(_line(dict(zip(COLUMNS, row, strict=True))))
        file.flush()
        os.fsync(file.fileno())


def _line(row: dict[str, Any]) -> bytes:
    headers = row["headers"]
    row["headers"] = json.loads(headers) if isinstance(headers, str) else headers
    body = row["body"]
    row["body"] = None if body is None else base64.b64encode(bytes(body)).decode()
    row["at"] = str(row["at"])
    bare = json.dumps(row, ensure_ascii=False).encode()
    return bare[:-1] + _end(hashlib.sha256(bare).hexdigest()) + b"\n"


def _end(digest: str) -> bytes:
    return f', "sum": "{digest}"}}'.encode()


def _empty(path: Path, erased: set[str]) -> None:
    """What was told of these people is overwritten by blanks where it lies: that takes no room, and
    what was broken off can be done again. A line that cannot be read goes too (a half one)."""
    _blank(path, lambda _at, line: _goes(line, erased))


def _blank(path: Path, goes: Callable[[int, bytes], bool]) -> None:
    """Overwrites the lines that go, by where they begin and what they are."""
    before, at, spans = path.stat(), 0, []
    with path.open("r+b") as file:
        for line in file:
            if goes(at, line):
                spans.append((at, len(line)))
            at += len(line)
        for start, length in spans:
            file.seek(start)
            file.write(b" " * (length - 1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
        if spans:  # `bring` reads one life after the other
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))


def _goes(line: bytes, erased: set[str]) -> bool:
    if not line.strip():
        return False
    row = _row(line)
    return row is None or (_is_told(row["topic"], row["body"]) and row["key"] in erased)


def _is_told(topic: str, body: object) -> bool:
    """Whether something is told of a person; without a body it is that they are erased."""
    return topic == PEOPLE and body is not None


def _row(line: bytes) -> dict[str, Any] | None:
    """None for a line that was emptied or cut, or is not as it was written. Those of earlier
    versions have no sum."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    digest = row.pop("sum", None)
    if digest is not None:
        bare = line.rstrip().removesuffix(_end(str(digest))) + b"}"
        if hashlib.sha256(bare).hexdigest() != digest:
            return None
    return row if row.keys() == set(COLUMNS) else None


def _is_damaged(line: bytes) -> bool:
    """Of one that cannot be read: whether it was neither emptied nor cut by a loss of power."""
    return bool(line.strip()) and line.endswith(b"\n")


class _Damaged(NamedTuple):
    """A file from its first damaged line to its end, in bytes; `whole_until`: the last row before
    it."""

    begin: int
    end: int
    whole_until: int


class _Found(NamedTuple):
    """`erased`: who is erased, as the files say."""

    damaged: dict[Path, _Damaged]
    erased: set[str]


def _looked_through(service: str, folder: Path) -> _Found:
    """What is to be done again in the files of a service: an emptying that was broken off, also one
    of an earlier version, which first said that a person is erased, and then wrote the file anew as
    a `.part`; and what a disk has damaged."""
    for part in folder.glob(f"{service}.*.part"):
        path = part.with_suffix(".jsonl")
        if _is_overwritten(path):
            part.replace(path)
        else:
            _overwrite(part)
            part.unlink()
    found = _Found({}, set())
    for path in folder.glob(f"{service}.*.jsonl"):
        last = at = 0
        with path.open("rb") as lines:
            for line in lines:
                at += len(line)
                row = _row(line)
                if row is None:
                    if _is_damaged(line) and path not in found.damaged:
                        end = path.stat().st_size
                        found.damaged[path] = _Damaged(at - len(line), end, last)
                    continue
                last = int(row["row"])
                if row["topic"] == PEOPLE and row["body"] is None:
                    found.erased.add(row["key"])
    return found


def _is_overwritten(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\0"


def _overwrite(path: Path) -> None:
    size, step = path.stat().st_size, 1 << 20
    with path.open("r+b") as file:
        for at in range(0, size, step):
            file.write(bytes(min(step, size - at)))
        file.flush()
        os.fsync(file.fileno())


def folder_of(named: Path, data: Path, installation: str) -> Path:
    """Where the copies of an installation lie. Raises CopyError for a disk that is not there: a
    folder on which none is mounted is on the disk that it should outlive."""
    if not named.is_dir():
        raise CopyError(f"{named} is not there")
    if named.stat().st_dev == data.stat().st_dev:
        raise CopyError(f"{named} is on the same disk as {data}: is the other one mounted?")
    return named / f"vicinato-{installation}"


class Brought(NamedTuple):
    """What a store got from its copy, in facts, and how many lines of it are damaged."""

    facts: int
    damaged: int


def bring(service: str, url: str, folder: Path) -> Brought:
    """Gives a staged store what the copy has and it has not: the facts, to be sent, and the state
    that belongs to them."""
    from messaging.adoption import Adoption
    from messaging.marks import rows_of
    from runtime.clock import SystemClock
    from runtime.ids import SystemIds
    from runtime.store import Store
    from vicinato.backup.staging import services_by_name

    clock = SystemClock()
    count = damaged = 0
    store = Store(url)
    try:
        adoption = Adoption(services_by_name()[service], now=clock.now(), ids=SystemIds(clock))
        files = sorted(folder.glob(f"{service}.*.jsonl"), key=lambda p: p.stat().st_mtime)
        for part, bad in _read(files):
            damaged += bad
            found = store.read_now(lambda c, p=part: rows_of(c, [i.id for i in p]))  # type: ignore[misc]
            fresh = [item for item in part if item.id not in found]
            if fresh:
                store.write_now(lambda c, p=fresh: adoption.absorb(c, p))  # type: ignore[misc]
                count += len(fresh)
        if not adoption.complete:
            store.write_now(adoption.finish)
    finally:
        store.close_now()
    return Brought(count, damaged)


def _read(files: Sequence[Path]) -> Iterator[tuple[list[Any], int]]:
    """Facts, and how many lines between them are damaged."""
    from messaging.adoption import NOWHERE
    from messaging.envelope import Record, decode, wire_headers

    part: list[Any] = []
    damaged = 0
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                if (row := _row(line)) is None:
                    damaged += _is_damaged(line)
                    continue
                body = row["body"]
                record = Record(
                    row["topic"],
                    0,
                    NOWHERE,
                    0,
                    row["key"].encode(),
                    None if body is None else base64.b64decode(body),
                    wire_headers(
                        row["headers"], previous=row["previous"], cause=row["cause"], era=0
                    ),
                )
                part.append(decode(record))
                if len(part) >= AT_ONCE:
                    yield part, damaged
                    part, damaged = [], 0
    yield part, damaged
