"""The way of a fact: outbox, relay, inbox, place, projections, replay (docs/architecture.md)."""

from messaging.envelope import Received, Record
from messaging.reactions import NotYet, Policies, Projection, ProjectionTransaction
from messaging.service import Check, Difference, Service
from messaging.transaction import Transaction

__all__ = [
    "Check",
    "Difference",
    "NotYet",
    "Policies",
    "Projection",
    "ProjectionTransaction",
    "Received",
    "Record",
    "Service",
    "Transaction",
]
