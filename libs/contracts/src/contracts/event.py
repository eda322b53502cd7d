"""The base of every event, and the register of all that exist.

An event is a fact in the past tense that one service owns and others may read. Its class names the
CloudEvents type, the topic it travels on and the field that holds the aggregate's id; that id is
the Kafka key and the ``ce_subject``, so that the order of one aggregate is kept. Fields are only
ever added, with a default: whoever reads ignores what it does not know. What breaks this raises the
version (``tests/contracts`` hold it).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
"""An opaque id: no white space, safe in a URL and as a Kafka key."""

Cents = Annotated[int, Field(ge=-(10**12), le=10**12)]
"""Money in whole cents of euro."""

Points = Annotated[int, Field(ge=0, le=10**9)]
"""Whole points, never negative."""

Moment = AwareDatetime
"""A moment with its zone; sent as UTC."""

_EVENTS: dict[str, type[Event]] = {}


class Event(BaseModel):
    """A fact. Immutable; unknown fields are ignored when read.

    Class attributes: ``TYPE`` (dotted name without version), ``VERSION`` (from 1), ``TOPIC``,
    ``KEY`` (the field with the aggregate's id), ``TOMBSTONE`` (the body is empty on the bus, which
    erases the key from a compacted topic), ``CE_TYPE`` (name and version).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    TYPE: ClassVar[str]
    VERSION: ClassVar[int]
    TOPIC: ClassVar[str]
    KEY: ClassVar[str]
    TOMBSTONE: ClassVar[bool]
    CE_TYPE: ClassVar[str]

    def __init_subclass__(
        cls,
        *,
        type: str = "",
        topic: str = "",
        key: str = "",
        version: int = 1,
        tombstone: bool = False,
        **kwargs: Any,
    ) -> None:
        """A subclass without ``type`` only lends its fields to others."""
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        type: str = "",
        topic: str = "",
        key: str = "",
        version: int = 1,
        tombstone: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not type:
            return
        cls.TYPE, cls.VERSION, cls.TOPIC, cls.KEY = type, version, topic, key
        cls.TOMBSTONE = tombstone
        cls.CE_TYPE = f"{type}.v{version}"
        if key not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: the key field {key!r} does not exist")
        if cls.ce_type() in _EVENTS:
            raise TypeError(f"{cls.__name__}: {cls.ce_type()} is defined twice")
        _EVENTS[cls.ce_type()] = cls

    @classmethod
    def ce_type(cls) -> str:
        """``shop.sale.completed.v1``: the CloudEvents type."""
        return cls.CE_TYPE

    @property
    def key(self) -> str:
        """The aggregate's id: Kafka key and ``ce_subject``."""
        return str(getattr(self, self.KEY))


def event_type(ce_type: str) -> type[Event] | None:
    """The model of a CloudEvents type, or None when this build does not know it."""
    return _EVENTS.get(ce_type)


def events(topic: str | None = None) -> tuple[type[Event], ...]:
    """All event models (of one topic), in the order of their CloudEvents type."""
    chosen = (e for e in _EVENTS.values() if topic is None or topic == e.TOPIC)
    return tuple(sorted(chosen, key=lambda e: e.ce_type()))


def split(ce_type: str) -> tuple[str, int] | None:
    """``("shop.sale.completed", 1)`` of ``shop.sale.completed.v1``; None when it has no version."""
    name, dot, version = ce_type.rpartition(".v")
    if not dot or not name or not version.isascii() or not version.isdigit():
        return None
    return name, int(version)
