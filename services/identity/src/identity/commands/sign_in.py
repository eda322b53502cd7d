"""Signing in: attempts are counted before the password is looked at, and given back if it is right.

In steps, because a password is never hashed inside a transaction: `begin` (counts, or refuses),
then the hash is checked, then `open_browser` or `open_api`, which look again whether the account
is still what it was when its password was checked.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

import sqlalchemy as sa

from identity import store
from identity.commands import accounts, keys, sessions
from identity.domain import scopes, throttle
from identity.domain import sessions as rules
from identity.domain.accounts import Kind
from identity.domain.devices import device_of
from identity.domain.sessions import Use
from identity.store import Account, StoredSession
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotAllowed, Refusal
from web.rates import TooMany
from web.tokens import BROWSER_LIFE, Claims, mint

MOST_TOKENS = 500
"""Live API tokens of one account: more means that a program forgets to keep its own."""


class FirstPasswordEnded(Refusal):
    """The password is right, was given by staff, and was not replaced in its time."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "password.first_ended",
            N_("This first password has ended."),
            N_("Ask at your centre for a new one."),
        )


class WrongSignIn(Refusal):
    """The one answer for an unknown address, a wrong password and a disabled account."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "sign_in.wrong",
            N_("The e-mail address or the password is not right."),
            N_("Check both and try again. If you forgot the password, ask at your centre."),
        )


@dataclass(frozen=True)
class Attempt:
    """An attempt that was let through: where it counts, and the account if there is one."""

    pair: str
    counted: tuple[tuple[str, throttle.Rate], ...]
    """The other buckets in which it took a place."""
    account: Account | None


@dataclass(frozen=True)
class Issued:
    """A token for a browser; "" while a first password has to be replaced: nothing else can be done
    before. ``secret`` is the value of the session's cookie ("" on renewal)."""

    session_id: str
    token: str
    token_ends: datetime
    session_ends: datetime
    remember: bool
    """True when the session may outlive the browser's window (not on shared desks)."""
    language: str
    secret: str = ""


@dataclass(frozen=True)
class ApiToken:
    """An API token, without the token itself."""

    id: str
    expires_at: datetime
    scopes: tuple[str, ...]


def begin(tx: Transaction, email: str, client: str) -> Attempt:
    """Count an attempt for a stored form of an address from a client. Raises TooMany.

    An unknown address is counted like a known one.
    """
    where = _client(client)
    pair = store.hidden("pair", email, where)
    one_client = store.hidden("client", where)
    everywhere = store.hidden("account", email)
    counted = [(pair, throttle.FROM_ONE_PLACE), (everywhere, throttle.ONE_ACCOUNT)]
    if where:
        counted.append((one_client, throttle.ONE_CLIENT))
    buckets = store.lock_attempts(tx.connection, [subject for subject, _ in counted], tx.now)
    known_until = buckets[pair].known_until
    if known_until is not None and known_until > tx.now:
        counted.remove((everywhere, throttle.ONE_ACCOUNT))
    wait = max(throttle.wait(rate, buckets[subject].full_at, tx.now) for subject, rate in counted)
    if wait > timedelta(0):
        raise TooMany(math.ceil(wait.total_seconds()))
    for subject, rate in counted:
        store.save_attempt(
            tx.connection,
            subject,
            throttle.taken(rate, buckets[subject].full_at, tx.now),
            known_until=buckets[subject].known_until,
        )
    return Attempt(pair, tuple(counted[1:]), store.account_by_email(tx.connection, email))


def right(tx: Transaction, attempt: Attempt) -> Account:
    """The password was right: give the places back and hold the account.

    Raises WrongSignIn as `held` does; then nothing is given back.
    """
    found = held(tx, attempt)
    subjects = [attempt.pair, *(subject for subject, _ in attempt.counted)]
    buckets = store.lock_attempts(tx.connection, subjects, tx.now)
    store.save_attempt(tx.connection, attempt.pair, tx.now, known_until=tx.now + throttle.KNOWN_FOR)
    for subject, rate in attempt.counted:
        store.save_attempt(
            tx.connection, subject, throttle.given_back(rate, buckets[subject].full_at)
        )
    return found


def held(tx: Transaction, attempt: Attempt) -> Account:
    """The account whose password was right, held until the commit.

    Raises WrongSignIn when it is disabled, or is not any more what was checked, FirstPasswordEnded
    when it was given by somebody else and too long ago.
    """
    checked = attempt.account
    found = store.lock_account(tx.connection, checked.id) if checked else None
    if (
        checked is None
        or found is None
        or found.standing.disabled
        or found.password_hash != checked.password_hash
    ):
        raise WrongSignIn()
    if found.password_until is not None and found.password_until <= tx.now:
        raise FirstPasswordEnded()
    return found


def open_browser(
    tx: Transaction, attempt: Attempt, *, user_agent: str = "", replaces: str = ""
) -> Issued:
    """Begin a browser session; the one of the cookie that it ``replaces`` ends."""
    account = right(tx, attempt)
    if replaces:
        sessions.sign_out(tx, replaces)
    lifetime = _lifetime(account)
    secret = secrets.token_urlsafe(32)
    session_id = _insert(
        tx,
        account,
        Use.BROWSER,
        secret=store.hidden(secret),
        name=device_of(user_agent),
        scope=None,
        ends_at=tx.now + lifetime.whole,
        idle=lifetime.idle,
        key_id="",
        token_until=tx.now,
    )
    stored = store.load_session(tx.connection, session_id)
    assert stored is not None
    return _issue(tx, stored, account, secret=secret)


def choose_first(
    tx: Transaction, chooser: Account, session_id: str, *, password_hash: str
) -> Issued:
    """Replace the first password with which this session began: from now on it is like any other.

    Raises Refusal("password.changed_meanwhile") when the account is not any more as the ``chooser``
    was, WrongSignIn when the session has ended.
    """
    accounts.choose_password(
        tx,
        chooser.id,
        was=chooser.password_hash,
        password_hash=password_hash,
        keep_session=session_id,
    )
    account = store.load_account(tx.connection, chooser.id)
    begun = store.load_session(tx.connection, session_id)
    if account is None or begun is None or not begun.times.live(tx.now):
        raise WrongSignIn()
    lifetime = _lifetime(account)
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.id == session_id)
        .values(ends_at=tx.now + lifetime.whole, idle_seconds=int(lifetime.idle.total_seconds()))
    )
    stored = store.load_session(tx.connection, session_id)
    assert stored is not None
    return _issue(tx, stored, account)


def prove(tx: Transaction, attempt: Attempt, session_id: str) -> None:
    """The password was given again in this session. Raises WrongSignIn as `held` does."""
    account = right(tx, attempt)
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.id == session_id, store.session.c.account_id == account.id)
        .values(proved_at=tx.now)
    )


def chooser(tx: Transaction, secret: str) -> tuple[str, Account] | None:
    """The session of a cookie and its account, where a first password has to be replaced."""
    found = store.session_by_secret(tx.connection, secret) if secret else None
    if found is None or not found.times.live(tx.now):
        return None
    account = store.load_account(tx.connection, found.account_id)
    if account is None or account.standing.disabled or account.password_until is None:
        return None
    return found.id, account


def renew(tx: Transaction, secret: str) -> Issued | None:
    """A new token for a live session; None when it has ended or its account is disabled."""
    found = store.session_by_secret(tx.connection, secret)
    if found is None or found.use is not Use.BROWSER or not found.times.live(tx.now):
        return None
    account = store.load_account(tx.connection, found.account_id)
    if account is None or account.standing.disabled:
        return None
    return _issue(tx, found, account)


def bound() -> NotAllowed:
    """Of people of one centre, who cannot choose another."""
    return NotAllowed(
        "centre.own",
        N_("Your account belongs to one centre."),
        N_("Ask the foundation if you should work in another."),
    )


def work_in(tx: Transaction, secret: str, centre_id: str) -> Issued:
    """Have somebody of the whole foundation work in one centre for now; "" for all of it again.

    Only this browser's session changes. Raises NotAllowed for people of one centre, Invalid for a
    centre that there is not, WrongSignIn when the session has ended.
    """
    found = store.session_by_secret(tx.connection, secret) if secret else None
    account = store.load_account(tx.connection, found.account_id) if found else None
    if found is None or account is None or not found.times.live(tx.now):
        raise WrongSignIn()
    if not account.standing.governs:
        raise bound()
    if centre_id and not store.centre_name(tx.connection, centre_id):
        raise Invalid(
            "centre.unknown",
            N_("There is no such centre."),
            N_("Choose one of the list."),
            field="centre_id",
        )
    tx.connection.execute(
        sa.update(store.session).where(store.session.c.id == found.id).values(centre_id=centre_id)
    )
    return _issue(tx, replace(found, centre_id=centre_id), account)


def open_api(
    tx: Transaction,
    attempt: Attempt,
    *,
    wanted: tuple[str, ...] | None,
    name: str,
    days: int | None,
) -> ApiToken:
    """Begin the session of an API token for who signed in with a password (`right` was run)."""
    return make_api(tx, held(tx, attempt), wanted=wanted, name=name, days=days)


def open_own_api(
    tx: Transaction,
    account_id: str,
    *,
    wanted: tuple[str, ...] | None,
    name: str,
    days: int | None,
) -> ApiToken:
    """Begin the session of an API token for who is signed in."""
    account = store.lock_account(tx.connection, account_id)
    if account is None or account.standing.disabled:
        raise WrongSignIn()
    return make_api(tx, account, wanted=wanted, name=name, days=days)


def make_api(
    tx: Transaction,
    account: Account,
    *,
    wanted: tuple[str, ...] | None,
    name: str,
    days: int | None,
) -> ApiToken:
    """The session of an API token of an account that is held. Raises Invalid or Refusal."""
    if account.password_until is not None:
        raise NotAllowed(
            "password.first",
            N_("This password was given to you by somebody else, and is for the first time only."),
            N_("Choose one of your own: sign in on the page, or POST /identity/api/password."),
        )
    scope = scopes.chosen(account.standing.roles, wanted)
    ends_at = (tx.now + rules.api_life(days)).replace(microsecond=0)
    if store.count_live(tx.connection, account.id, Use.API, tx.now) >= MOST_TOKENS:
        raise Refusal(
            "token.too_many",
            N_("This account has {most} tokens already."),
            N_("Delete those that nobody uses."),
            most=MOST_TOKENS,
        )
    session_id = _insert(
        tx,
        account,
        Use.API,
        secret=None,
        name=name.strip(),
        scope=scope,
        ends_at=ends_at,
        idle=None,
        key_id=keys.signer(tx).key_id,
        token_until=ends_at,
    )
    return ApiToken(session_id, ends_at, scope)


def api_token(connection: sa.Connection, session_id: str) -> str | None:
    """The token of an API session: the same text each time, for nothing of it is kept.

    None when the session, its account or its key is gone.
    """
    session = store.load_session(connection, session_id)
    if session is None or session.use is not Use.API:
        return None
    account = store.load_account(connection, session.account_id)
    private = keys.private_key(connection, session.key_id)
    if account is None or private is None:
        return None
    return mint(
        private,
        session.key_id,
        _claims(connection, session, account, session.times.created_at, session.times.ends_at),
    )


def _issue(
    tx: Transaction, session: StoredSession, account: Account, *, secret: str = ""
) -> Issued:
    if account.password_until is not None:
        return Issued(
            session_id=session.id,
            token="",
            token_ends=tx.now,
            session_ends=session.times.ends_at,
            remember=account.standing.kind is not Kind.STAFF,
            language=account.language,
            secret=secret,
        )
    signer = keys.signer(tx)
    ends = min(tx.now + BROWSER_LIFE, session.times.ends_at)
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.id == session.id)
        .values(
            seen_at=session.times.seen(tx.now).seen_at,
            token_until=max(ends, session.token_until),
            key_id=signer.key_id,
        )
    )
    return Issued(
        session_id=session.id,
        token=mint(
            signer.private, signer.key_id, _claims(tx.connection, session, account, tx.now, ends)
        ),
        token_ends=ends,
        session_ends=session.times.ends_at,
        remember=account.standing.kind is not Kind.STAFF,
        language=account.language,
        secret=secret,
    )


def _claims(
    connection: sa.Connection,
    session: StoredSession,
    account: Account,
    at: datetime,
    ends: datetime,
) -> Claims:
    standing = account.standing
    foundation = standing.governs
    centre_id = standing.centre_id
    place = ""
    if foundation and session.centre_id:
        place = store.centre_name(connection, session.centre_id)
        centre_id = session.centre_id if place else ""
    return Claims(
        sub=account.id,
        sid=session.id,
        roles=tuple(sorted(standing.roles)),
        centre=centre_id,
        scopes=session.scopes if session.use is Use.API else None,
        household=standing.household_id,
        organisation=standing.organisation_id,
        producer=standing.producer_id,
        lang=account.language,
        zone=store.time_zone(connection, centre_id),
        foundation=foundation,
        place=place,
        typ=session.use.value,
        over=session.times.seen(at).over_at,
        iat=at,
        exp=ends,
    )


def _lifetime(account: Account) -> rules.Lifetime:
    if account.password_until is not None:
        return rules.Lifetime(idle=rules.CHOOSING, whole=rules.CHOOSING)
    return rules.lifetime_for(account.standing.roles)


def _insert(
    tx: Transaction,
    account: Account,
    use: Use,
    *,
    secret: str | None,
    name: str,
    scope: tuple[str, ...] | None,
    ends_at: datetime,
    idle: timedelta | None,
    key_id: str,
    token_until: datetime,
) -> str:
    session_id = tx.ids.new()
    tx.connection.execute(
        sa.insert(store.session).values(
            id=session_id,
            secret=secret,
            account_id=account.id,
            used_by=use.value,
            name=name,
            scopes=None if scope is None else list(scope),
            key_id=key_id,
            created_at=tx.now,
            seen_at=tx.now,
            ends_at=ends_at,
            idle_seconds=None if idle is None else int(idle.total_seconds()),
            token_until=token_until,
        )
    )
    return session_id


def _client(address: str) -> str:
    """Whom to count an address as: a home or a phone has a whole IPv6 network of 64 bits."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return hashlib.sha256(found.packed[:8]).hexdigest()
