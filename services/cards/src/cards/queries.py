"""The read side: what the desk, the family and programs see."""

from __future__ import annotations
