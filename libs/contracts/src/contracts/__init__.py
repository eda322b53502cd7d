"""The facts that the services tell each other: versioned models, owned by who writes them."""

from contracts import activities, cards, identity, network, notifications, people, shop
from contracts.event import Cents, Event, Id, Moment, Points, event_type, events, split

__all__ = [
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
