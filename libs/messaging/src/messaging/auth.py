"""Whom to believe, learnt from identity's events: public keys and revoked sessions.

The same projection in every service, so that tokens are checked offline and a sign-out is honoured
by all as soon as the event is there.
"""

from __future__ import annotations

from contracts.identity import KeyPublished, SessionRevoked
from messaging.envelope import Received
from messaging.reactions import Projection, ProjectionTransaction
from messaging.tables import auth_key, auth_revoked

AUTH = Projection("auth", version=1, tables=(auth_key, auth_revoked))


@AUTH.on(KeyPublished)
def key_published(p: ProjectionTransaction, received: Received[KeyPublished]) -> None:
    """A key signs from now on, until it ends."""
    event = received.event
    p.upsert(
        p.table(auth_key),
        {
            "key_id": event.key_id,
            "public_key": event.public_key,
            "not_before": event.not_before,
            "not_after": event.not_after,
        },
        key=("key_id",),
    )


@AUTH.on(SessionRevoked)
def session_revoked(p: ProjectionTransaction, received: Received[SessionRevoked]) -> None:
    """Tokens of this session are refused."""
    event = received.event
    p.upsert(
        p.table(auth_revoked),
        {"session_id": event.session_id, "until": event.until},
        key=("session_id",),
    )
