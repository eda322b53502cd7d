"""Signing keys: made here, told to everybody, used to sign tokens.

The public part goes into ``auth_key`` in the transaction that makes the key, so that identity
itself believes what it signs at once; everybody else learns it from ``identity.key.published``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contracts.identity import KeyPublished
from identity import store
from identity.domain import keys
from identity.sealing import seal
from messaging import Transaction
from messaging.tables import auth_key
from runtime.logging import get_logger
from runtime.store import upsert
from web.tokens import public_text

RAW = 32
"""Bytes of an Ed25519 private key; a sealed one is longer."""

log = get_logger()

GONE_AFTER = timedelta(days=1)
"""How long a key that can check nothing any more is still kept."""


@dataclass(frozen=True)
class Signer:
    """The key that signs now."""

    key_id: str
    private: Ed25519PrivateKey


def keep_in_turn(tx: Transaction) -> int:
    """Make the keys that are needed now: one that signs, and its successor when it is time.

    Returns how many were made; run again at once it makes none.
    """
    made = 0
    while (span := keys.next_span(store.load_spans(tx.connection), tx.now)) is not None:
        publish(tx, span)
        made += 1
    return made


def publish(tx: Transaction, span: keys.Span) -> str:
    """Make a key for a span of time and tell everybody its public part. Returns its id."""
    private = Ed25519PrivateKey.generate()
    key_id = tx.ids.new()
    tx.connection.execute(
        sa.insert(store.signing_key).values(
            id=key_id,
            sealed=seal().close(
                private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            ),
            not_before=span.not_before,
            signs_until=span.signs_until,
        )
    )
    published = KeyPublished(
        key_id=key_id,
        public_key=public_text(private.public_key()),
        not_before=span.not_before,
        not_after=span.not_after,
    )
    believe(tx, published)
    tx.emit(published, centre="")
    return key_id


def believe(tx: Transaction, published: KeyPublished) -> None:
    """Check tokens by this key from now on, as the projection of the event does elsewhere."""
    upsert(
        tx.connection,
        auth_key,
        [
            {
                "key_id": published.key_id,
                "public_key": published.public_key,
                "not_before": published.not_before,
                "not_after": published.not_after,
            }
        ],
        key=("key_id",),
    )


def signer(tx: Transaction) -> Signer:
    """The key to sign with now; made at once if time went on without one."""
    keep_in_turn(tx)
    spans = store.load_spans(tx.connection)
    span = keys.signer(spans, tx.now)
    assert span is not None
    found = private_key(tx.connection, spans[span])
    assert found is not None
    return Signer(spans[span], found)


def private_key(connection: sa.Connection, key_id: str) -> Ed25519PrivateKey | None:
    """The private part of a key of ours, or None when it is gone."""
    sealed = store.load_sealed(connection, key_id)
    raw = None if sealed is None else seal().open(sealed)
    return None if raw is None else Ed25519PrivateKey.from_private_bytes(raw)


def seal_anew(tx: Transaction) -> None:
    """Every private part is closed by the secret of now; what no secret of ours opens is dropped.

    Raw ones are of a version that did not seal. What a dropped key signed is believed until it
    ends; a new key signs from now on.
    """
    keys_here = store.signing_key
    for key_id, found in tx.connection.execute(sa.select(keys_here.c.id, keys_here.c.sealed)).all():
        raw = found if len(found) == RAW else seal().open(found)
        its_row = keys_here.c.id == key_id
        if raw is None:
            log.warning("identity.key.dropped", subject_id=key_id)
            tx.connection.execute(sa.delete(keys_here).where(its_row))
            continue
        again = seal().close(raw) if len(found) == RAW else seal().anew(found)
        tx.connection.execute(sa.update(keys_here).where(its_row).values(sealed=again))


def turn(tx: Transaction) -> str:
    """End every key, token and session of everybody at once; a new key signs from now on.

    For a key that may have been seen, and for a store that came from a backup. The others learn
    the end of a key from its event, told once more with an earlier end. Returns the new key's id.
    """
    for row in tx.connection.execute(sa.select(auth_key).where(auth_key.c.not_after > tx.now)):
        ended = KeyPublished(
            key_id=row.key_id,
            public_key=row.public_key,
            not_before=min(row.not_before, tx.now),
            not_after=tx.now,
        )
        believe(tx, ended)
        tx.emit(ended, centre="")
    tx.connection.execute(sa.delete(store.signing_key))
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.ends_at > tx.now)
        .values(ends_at=tx.now, token_until=tx.now)
    )
    keep_in_turn(tx)
    return signer(tx).key_id


def forget_ended(tx: Transaction) -> None:
    """Delete private parts that sign no more.

    Public keys and ended sessions stay, here as in every service: `auth` is a read model, and one
    that forgot something by itself would differ from its rebuild.
    """
    before = tx.now - GONE_AFTER
    tx.connection.execute(
        sa.delete(store.signing_key).where(store.signing_key.c.signs_until <= before)
    )
