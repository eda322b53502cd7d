"""The facts that the services tell each other: versioned models, owned by who writes them."""

from contracts import activities, cards, identity, network, notifications, people, shop
from contracts.event import Cents, Event, Id, Moment, Points, event_type, events, split

COMPACTED = frozenset({people.TOPIC})
"""Topics that keep only the last record of a key: their events have no ``previous``."""

__all__ = [
    "COMPACTED",
    "Cents",
    "Event",
    "Id",
    "Moment",
    "Points",
    "activities",
    "cards",
    "event_type",
    "events",
    "identity",
    "network",
    "notifications",
    "people",
    "shop",
    "split",
]
