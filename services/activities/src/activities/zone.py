"""The wall clock of a centre: Rome's where none is known, as in `web.formats` (a test holds it)."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DEFAULT = ZoneInfo("Europe/Rome")


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name; the default one when it is not known on this machine."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return DEFAULT
