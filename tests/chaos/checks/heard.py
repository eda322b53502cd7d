"""What the services have told each other had its effect: no fact of theirs was given up, and of
every sign-up the person was told once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from chaos.checks.excused import Excused, What
from chaos.checks.rows import Stores, rows
from chaos.checks.told import Told
from contracts import activities

ENTERED = (activities.SignUpConfirmed.ce_type(), activities.SignUpWaitlisted.ce_type())
SPOKEN_OF = (
    *ENTERED,
    activities.SignUpOffered.ce_type(),
    activities.OfferExpired.ce_type(),
    activities.SignUpCancelled.ce_type(),
)
NOT_THEIR_OWN_DOING = ("by_staff", "session_cancelled")
"""Reasons of a cancellation of which the person is told."""


def dead(stores: Stores) -> Iterator[str]:
    """Facts of ours that a service gave up; what somebody else wrote on a topic is in no outbox."""
    ours = _told(stores)
    for name, store in stores.items():
        for row in rows(store, "SELECT event_id, type, reason FROM set_aside WHERE state = 'dead'"):
            if row.event_id in ours:
                yield f"{row.type} {row.event_id} is dead in {name}: {row.reason}"


def messages(told: Told, stores: Stores, excused: Excused) -> Iterator[str]:
    """One for each fact of a sign-up of which its person is told, and for each sign-up a fact."""
    found = Counter(
        (row.intent, row.person_id)
        for row in rows(stores["notifications"], "SELECT intent, person_id FROM message")
    )
    entered: Counter[str] = Counter()
    for row in rows(stores["activities"], "SELECT id, type, body FROM outbox"):
        if row.type not in SPOKEN_OF:
            continue
        body = json.loads(row.body)
        entered[body["signup_id"]] += row.type in ENTERED
        if body.get("reason", NOT_THEIR_OWN_DOING[0]) not in NOT_THEIR_OWN_DOING:
            continue
        if (count := found[row.id, body["person_id"]]) != 1:
            yield f"{row.type} {row.id} made {count} messages for {body['person_id']}, not 1"
    for op in told.of("sign-up").values():
        for sign_up in op.answer.get("sign_ups", []) if op.told else []:
            if not entered[sign_up] and not excused.before(What.SIGN_UP, sign_up, op.at):
                yield f"sign-up {sign_up} was acknowledged and no fact tells of it"
    ours = _told(stores)
    for intent, person in found:
        if intent not in ours and not excused.ever(What.EVENT, intent):
            yield f"{person} has a message about {intent}, of which no outbox knows"


def _told(stores: Stores) -> set[str]:
    """The ids of all facts."""
    return {row.id for store in stores.values() for row in rows(store, "SELECT id FROM outbox")}
