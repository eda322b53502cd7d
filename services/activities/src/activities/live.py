"""Pages that show a session learn that it changed: channel ``session.<id>``."""

from __future__ import annotations

from messaging import Transaction

SESSION = "session"


def changed(tx: Transaction, session_id: str) -> None:
    """Say so once this transaction is committed."""

    def tell() -> None:
        from web import live  # commands must not load the web, which only an application has

        live.publish(SESSION, session_id)

    tx.after_commit(tell)
