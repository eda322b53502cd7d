"""The end of sessions: written here, believed here at once, told to everybody."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from contracts.identity import SessionRevoked
from identity import store
from messaging import Transaction
from messaging.tables import auth_revoked
from runtime.refusals import N_, NotFound
from runtime.store import upsert


def revoke_all(
    tx: Transaction,
    account_id: str,
    *,
    centre: str,
    but: str = "",
    only: Collection[str] | None = None,
) -> int:
    """End the live sessions of an account (all, all but one, only those named). Returns how many.

    The caller holds the account's row, so no session can begin meanwhile.
    """
    chosen = [
        session
        for session in store.lock_live_sessions(tx.connection, account_id, tx.now)
        if session.id != but and (only is None or session.id in only)
    ]
    for session in chosen:
        _revoke(tx, session, centre=centre)
    return len(chosen)


def revoke_own(tx: Transaction, account_id: str, session_id: str, *, centre: str) -> None:
    """End one's own session or API token; one that has ended already is fine.

    Raises NotFound for one that is not the caller's.
    """
    store.lock_account(tx.connection, account_id)
    found = store.load_session(tx.connection, session_id)
    if found is None or found.account_id != account_id:
        raise NotFound(
            "session.unknown",
            N_("There is no such sign-in or token."),
            N_("Look at the list again."),
        )
    revoke_all(tx, account_id, centre=centre, only={session_id})


def end_others(tx: Transaction, account_id: str, *, centre: str, keep: str) -> int:
    """End one's own sessions and API tokens but one. Returns how many."""
    store.lock_account(tx.connection, account_id)
    return revoke_all(tx, account_id, centre=centre, but=keep)


def sign_out(tx: Transaction, secret: str) -> None:
    """End the browser session of a cookie; nothing happens when there is none."""
    found = store.session_by_secret(tx.connection, secret)
    if found is None or found.times.revoked_at is not None:
        return
    account = store.load_account(tx.connection, found.account_id)
    _revoke(tx, found, centre=account.standing.centre_id if account else "")


def believe(tx: Transaction, revoked: SessionRevoked) -> None:
    """Refuse the session's tokens from now on, as the projection of the event does elsewhere."""
    upsert(
        tx.connection,
        auth_revoked,
        [{"session_id": revoked.session_id, "until": revoked.until}],
        key=("session_id",),
    )


def _revoke(tx: Transaction, session: store.StoredSession, *, centre: str) -> None:
    tx.connection.execute(
        sa.update(store.session).where(store.session.c.id == session.id).values(revoked_at=tx.now)
    )
    revoked = SessionRevoked(
        session_id=session.id,
        account_id=session.account_id,
        revoked_at=tx.now,
        until=max(session.token_until, tx.now),
    )
    believe(tx, revoked)
    tx.emit(revoked, centre=centre)
