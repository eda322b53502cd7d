"""What must hold in identity's own store, recomputed for ``vicinato verify``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from contracts.identity import (
    AccountChanged,
    AccountCreated,
    AccountErased,
    CentreOpened,
    KeyPublished,
    SessionRevoked,
)
from identity import store
from identity.domain.accounts import kind_of
from messaging import Difference
from messaging.tables import auth_key, outbox

BATCH = 5_000


def accounts_as_told(connection: sa.Connection) -> Sequence[Difference]:
    """Every account may do exactly what the last event of it says, and none lacks its event."""
    told: dict[str, tuple[object, ...]] = {}
    kinds = (AccountCreated.ce_type(), AccountChanged.ce_type(), AccountErased.ce_type())
    for body, ce_type in _events(connection, *kinds):
        if ce_type == AccountCreated.ce_type():
            made = AccountCreated.model_validate_json(body)
            told[made.account_id] = _words(made, disabled=False)
        elif ce_type == AccountErased.ce_type():
            told.pop(AccountErased.model_validate_json(body).account_id, None)
        else:
            changed = AccountChanged.model_validate_json(body)
            told[changed.account_id] = _words(changed, disabled=changed.disabled)
    found: list[Difference] = []
    columns = store.account.c
    for row in connection.execute(
        sa.select(
            columns.id,
            columns.roles,
            columns.kind,
            columns.centre_id,
            columns.household_id,
            columns.organisation_id,
            columns.producer_id,
            columns.disabled,
        ).execution_options(yield_per=BATCH)
    ):
        here = (
            tuple(row.roles),
            row.centre_id,
            row.household_id,
            row.organisation_id,
            row.producer_id,
            row.disabled,
        )
        expected = told.pop(row.id, None)
        if expected != here:
            found.append(Difference("accounts_as_told", row.id, str(expected), str(here)))
        if kind_of(row.roles) != row.kind:
            found.append(Difference("accounts_as_told", row.id, str(kind_of(row.roles)), row.kind))
    found.extend(
        Difference("accounts_as_told", account_id, "an account", "none") for account_id in told
    )
    return found


def centres_as_told(connection: sa.Connection) -> Sequence[Difference]:
    """Every centre has its event, every event its centre, and every account a centre that is."""
    told = {
        CentreOpened.model_validate_json(body).centre_id
        for body, _ in _events(connection, CentreOpened.ce_type())
    }
    here = set(connection.scalars(sa.select(store.centre.c.id)))
    named = set(connection.scalars(sa.select(store.account.c.centre_id).distinct())) - {""}
    return [
        *(Difference("centres_as_told", one, "told", "not told") for one in sorted(here - told)),
        *(Difference("centres_as_told", one, "a centre", "none") for one in sorted(told - here)),
        *(
            Difference("centres_as_told", one, "a centre of accounts", "none")
            for one in sorted(named - here)
        ),
    ]


def keys_believed(connection: sa.Connection) -> Sequence[Difference]:
    """Every signing key is believed as it was told, for at least as long as its tokens live.

    The private part stays sealed: whoever verifies a store need not be able to sign.
    """
    told_as = {
        event.key_id: event.public_key
        for event in (
            KeyPublished.model_validate_json(body)
            for body, _ in _events(connection, KeyPublished.ce_type())
        )
    }
    public = {
        row.key_id: (row.public_key, row.not_after)
        for row in connection.execute(sa.select(auth_key))
    }
    found = []
    for row in connection.execute(sa.select(store.signing_key)):
        mine = told_as.get(row.id, "not told")
        told, not_after = public.get(row.id, ("none", None))
        if told != mine:
            found.append(Difference("keys_believed", row.id, mine, told))
        elif not_after is None or not_after < row.signs_until:
            found.append(
                Difference("keys_believed", row.id, f"until {row.signs_until}", f"{not_after}")
            )
    return found


def revocations_told(connection: sa.Connection) -> Sequence[Difference]:
    """Every session that was ended here was told to the others."""
    told = {
        SessionRevoked.model_validate_json(body).session_id
        for body, _ in _events(connection, SessionRevoked.ce_type())
    }
    ended = connection.scalars(
        sa.select(store.session.c.id).where(store.session.c.revoked_at.is_not(None))
    )
    return [
        Difference("revocations_told", one, "told", "not told") for one in ended if one not in told
    ]


def live_sessions(connection: sa.Connection) -> float:
    """Sessions that were neither ended by somebody nor deleted."""
    return float(
        connection.scalar(
            sa.select(sa.func.count())
            .select_from(store.session)
            .where(store.session.c.revoked_at.is_(None))
        )
        or 0
    )


def _events(connection: sa.Connection, *types: str) -> Iterator[tuple[bytes, str]]:
    rows = connection.execute(
        sa.select(outbox.c.body, outbox.c.type)
        .where(outbox.c.type.in_(types))
        .order_by(outbox.c.row)
        .execution_options(yield_per=BATCH)
    )
    yield from ((row.body, row.type) for row in rows)


def _words(event: AccountCreated | AccountChanged, *, disabled: bool) -> tuple[object, ...]:
    return (
        tuple(sorted(str(role) for role in event.roles)),
        event.centre_id,
        event.household_id,
        event.organisation_id,
        event.producer_id,
        disabled,
    )
