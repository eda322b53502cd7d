"""What travels: CloudEvents 1.0 in Kafka's binary mode (DESIGN §3.9), written and read strictly.

Headers: ``ce_specversion``, ``ce_id``, ``ce_type``, ``ce_source``, ``ce_time``, ``ce_subject``,
``content-type``, and ``previous``, ``cause``, ``correlation``, ``era``, ``centre``,
``traceparent``, and ``order`` where the time alone is not later than that of the event before. The
key is the aggregate's id and equals the subject and the key field of the body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

import pydantic

from contracts import Event, event_type, events, split

E_co = TypeVar("E_co", bound=Event, covariant=True)

MAX_BODY = 900_000
"""Bytes. The broker takes records of 1 MiB; the rest is for headers."""

ERA_BEGUN = "messaging.era.begun.v1"
"""The type of a marker record: it says nothing but its era."""

ORDER = "order"
"""The header that is there only where the time does not tell: see `Received`."""

_NEEDED = ("ce_type", "ce_source", "ce_time", "ce_subject")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")


class Record(NamedTuple):
    """A record as it lies in the log. ``stamp`` is Kafka's time in milliseconds."""

    topic: str
    partition: int
    offset: int
    stamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Received(NamedTuple, Generic[E_co]):
    """An event with all that its envelope says.

    ``time`` is when it happened by the clock of who tells it, which may have been set back since
    the event before, or stood still. ``order`` is the same but for that: it grows from one event of
    a topic and key to the next, so it says which of two is the newer word. Those of a compacted
    topic have a revision of their own.
    """

    event: E_co
    id: str
    type: str
    source: str
    time: datetime
    order: datetime
    subject: str
    key: str
    previous: str | None
    cause: str | None
    correlation: str
    centre: str
    traceparent: str
    era: int
    topic: str
    partition: int
    offset: int


class Marker(NamedTuple):
    """A record that only tells its era."""

    id: str
    era: int


class Unreadable(NamedTuple):
    """A record that is no event of ours. ``reason`` is a code, ``detail`` says more; ``later`` is
    true when a newer build may well read it (an unknown type, a newer version)."""

    id: str
    type: str
    previous: str | None
    era: int
    reason: str
    detail: str
    later: bool = False

    def spoken(self) -> str:
        """Reason and detail in one line."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Item(NamedTuple):
    """A record with what was read out of it."""

    record: Record
    content: Received[Event] | Marker | Unreadable

    @property
    def id(self) -> str:
        """The event's id, or where the record lies when it has none."""
        return self.content.id

    @property
    def era(self) -> int:
        return self.content.era

    @property
    def previous(self) -> str | None:
        return None if isinstance(self.content, Marker) else self.content.previous

    @property
    def type(self) -> str:
        return ERA_BEGUN if isinstance(self.content, Marker) else self.content.type

    @property
    def key(self) -> str:
        return (self.record.key or b"").decode("utf-8", "replace")


def decode(record: Record) -> Item:
    """Read a record: what cannot be read is an `Unreadable` that says why. Raises MemoryError
    alone, which is not the record's fault."""
    try:
        return Item(record, _content(record))
    except MemoryError:
        raise
    except Exception as error:
        # A batch that cannot even be decoded would be passed over whole, and its events lost.
        reason = type(error).__name__
        return Item(record, Unreadable(_where(record), "", None, 0, "record.invalid", reason))


def _where(record: Record) -> str:
    """What a record is known by that has no id."""
    return f"{record.topic}/{record.partition}/{record.offset}/{record.stamp}"


def _content(record: Record) -> Received[Event] | Marker | Unreadable:
    headers: dict[str, str] = {}
    try:
        for name, raw in record.headers:
            headers[name] = raw.decode()
    except (UnicodeDecodeError, AttributeError):
        return Unreadable(_where(record), "", None, 0, "header.undecodable", name)
    era = _number(headers.get("era", "0"))
    ce_type = headers.get("ce_type", "")
    if era is None:
        return Unreadable(_where(record), ce_type, None, 0, "header.invalid", "era")
    ce_id = headers.get("ce_id", "")
    if ce_type == ERA_BEGUN:
        return Marker(ce_id if _ID.match(ce_id) else _where(record), era)
    previous = headers.get("previous") or None
    if not _ID.match(ce_id):
        what = "header.invalid" if ce_id else "header.missing"
        return Unreadable(_where(record), ce_type, None, era, what, "ce_id")

    def bad(reason: str, detail: str, *, later: bool = False) -> Unreadable:
        return Unreadable(ce_id, ce_type, previous, era, reason, detail, later)

    if previous is not None and not _ID.match(previous):
        return Unreadable(ce_id, ce_type, None, era, "header.invalid", "previous")
    if not all(map(headers.get, _NEEDED)):
        return bad("header.missing", ", ".join(n for n in _NEEDED if not headers.get(n)))
    time = _moment(headers["ce_time"])
    if time is None:
        return bad("header.invalid", "ce_time")
    order = _moment(headers[ORDER]) if ORDER in headers else time
    if order is None:
        return bad("header.invalid", ORDER)
    model = event_type(ce_type)
    if model is None:
        return bad(*_unknown(ce_type), later=True)
    if record.topic != model.TOPIC:
        return bad("topic.wrong", f"{ce_type} belongs on {model.TOPIC}")
    event = _body(model, record.value, headers["ce_subject"])
    if isinstance(event, str):
        return bad("body.invalid", event)
    key = (record.key or b"").decode("utf-8", "replace")
    if key != headers["ce_subject"] or key != event.key:
        return bad("key.wrong", "key, ce_subject and the body's id differ")
    return Received(
        event=event,
        id=ce_id,
        type=ce_type,
        source=headers["ce_source"],
        time=time,
        order=max(time, order),
        subject=headers["ce_subject"],
        key=key,
        previous=previous,
        cause=headers.get("cause") or None,
        correlation=headers.get("correlation", ""),
        centre=headers.get("centre", ""),
        traceparent=headers.get("traceparent", ""),
        era=era,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )


def _unknown(ce_type: str) -> tuple[str, str]:
    parts = split(ce_type)
    if parts is not None:
        known = [e.VERSION for e in events() if parts[0] == e.TYPE]
        if known and parts[1] > max(known):
            return "version.newer", f"this build knows {parts[0]} up to v{max(known)}"
    return "type.unknown", ce_type[:120]


def _body(model: type[Event], value: bytes | None, subject: str) -> Event | str:
    if model.TOMBSTONE:
        if value is not None:
            return "a tombstone has no body"
        try:
            return model.model_validate({model.KEY: subject})
        except pydantic.ValidationError:
            return "subject"
    if value is None:
        return "empty"
    try:
        return model.model_validate_json(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return f"{field or 'body'}: {first['type']}"


def _moment(text: str) -> datetime | None:
    """A time with its zone, in UTC; None when it is none."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            return None
        return found if found.tzinfo is UTC else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def headers_for(
    event: Event,
    *,
    event_id: str,
    source: str,
    time: datetime,
    correlation: str,
    centre: str,
    traceparent: str = "",
) -> dict[str, str]:
    """The headers that are fixed when the row is written; the relay adds chain and era."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event.ce_type(),
        "ce_source": source,
        "ce_time": _spoken(time),
        "ce_subject": event.key,
        "correlation": correlation,
        "centre": centre,
    }
    if not event.TOMBSTONE:
        headers["content-type"] = "application/json"
    if traceparent:
        headers["traceparent"] = traceparent
    return headers


def ordered(at: datetime) -> dict[str, str]:
    """The header of an event whose time is not later than that of the one before it."""
    return {ORDER: _spoken(at)}


@lru_cache(maxsize=64)
def _spoken(moment: datetime) -> str:
    """A moment as headers say it. All that one transaction tells happens at the same."""
    return moment.astimezone(UTC).isoformat()


def body_of(event: Event) -> bytes | None:
    """The bytes on the bus; None for a tombstone."""
    return None if event.TOMBSTONE else event.__pydantic_serializer__.to_json(event)


def wire_headers(
    headers: Mapping[str, str], *, previous: str | None, cause: str | None, era: int
) -> list[tuple[str, bytes]]:
    """All headers as they are sent."""
    wire = [(name, value.encode()) for name, value in headers.items()]
    if previous:
        wire.append(("previous", previous.encode()))
    if cause:
        wire.append(("cause", cause.encode()))
    wire.append(("era", b"%d" % era))
    return wire


def eras(items: Iterable[Item]) -> int:
    """The highest era among items; 0 when there are none."""
    return max((item.era for item in items), default=0)
