"""The wall clock of the centres, as `web.formats.ZONE` shows it (a test holds them equal)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Rome")
