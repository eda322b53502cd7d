"""What every test of the house shares: both engines, a clock and ids that tests can move."""

from __future__ import annotations

pytest_plugins = ["runtime.testing", "vicinato.testing"]
