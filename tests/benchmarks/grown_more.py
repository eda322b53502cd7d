"""Stores of activities, notifications, network and identity that have grown, for the times of their
pages: what years of work with so many households leave, in plausible shares.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from activities import store as activities
from benchmarks import facts
from benchmarks.grown import FAMILY_NAMES, GIVEN_NAMES, Size
from identity import store as identity
from network import store as network
from notifications import store as notifications
from runtime.rows import insert
from runtime.store import Store
from web.testing import publish_key

AT_ONCE = 5_000
NOW = datetime.now(UTC).replace(microsecond=0)
SESSIONS = 2_000
"""Of which every hundredth is still to come."""
SIGN_UPS = 20
"""Of a session."""
ORGANISATIONS = 60

Row = dict[str, Any]


ASKER: Row = {
    "id": "account-1",
    "email": "chi.chiede@example.org",
    "roles": ["coordinator"],
    "kind": "staff",
    "household_id": "",
}
"""Of the tokens of `web.testing`."""


def session(number: int) -> str:
    return f"session-{number:05}"


def organisation(number: int) -> str:
    return f"organisation-{number % ORGANISATIONS:03}"


def referral(number: int) -> str:
    return f"referral-{number:07}"


def person(number: int) -> str:
    return f"person-{number:07}"


def message(number: int) -> str:
    return f"message-{number:08}"


def account(number: int) -> str:
    return f"account-{number:07}"


def fill_activities(url: str, size: Size) -> None:
    """A person for each household, two years of sessions with their sign-ups and registers."""
    _fill(
        url,
        (activities.household_seen, map(_household_seen, range(size.households))),
        (activities.person_seen, map(_person_seen, range(size.households))),
        (activities.activity, map(_activity, range(20))),
        (activities.session, map(_session, range(SESSIONS))),
        (
            activities.sign_up,
            (_sign_up(number, at, size) for number in range(SESSIONS) for at in range(SIGN_UPS)),
        ),
        (
            activities.attendance,
            (
                _attendance(number, at, size)
                for number in range(SESSIONS)
                if number % 100
                for at in range(SIGN_UPS)
            ),
        ),
    )


def fill_notifications(url: str, size: Size) -> None:
    """A contact for each household, and five messages with a delivery each."""
    messages = 5 * size.households
    _fill(
        url,
        (notifications.household_seen, map(_household_seen, range(size.households))),
        (notifications.person_contact, map(_contact, range(size.households))),
        (notifications.message, (_message(n, size) for n in range(messages))),
        (notifications.delivery, (_delivery(n, size) for n in range(messages))),
    )


def fill_network(url: str, size: Size) -> None:
    """A need and a referral for every second household; one in fifty referrals is open."""
    half = size.households // 2
    _fill(
        url,
        (network.household_seen, (_zoned(n) for n in range(size.households))),
        (network.person_known, map(_known, range(size.households))),
        (network.organisation, map(_organisation, range(ORGANISATIONS))),
        (network.organisation_reach, map(_reach, range(ORGANISATIONS))),
        (network.need, (_need(n, size) for n in range(half))),
        (network.referral, (_referral(n, size) for n in range(half))),
        (network.referral_step, (_step(n) for n in range(half))),
    )


def fill_identity(url: str, size: Size) -> None:
    """An account and a session for each household."""
    _fill(
        url,
        (
            identity.centre,
            [
                {
                    "id": facts.CENTRE,
                    "name": "Centro di prova",
                    "time_zone": "Europe/Rome",
                    "region": "IT",
                    "languages": ["it"],
                    "opened_at": _ago(900),
                }
            ],
        ),
        (identity.account, [_account(0) | ASKER]),
        (identity.account, map(_account, range(size.households))),
        (identity.session, map(_signed_in, range(size.households))),
    )


def _fill(url: str, *tables: tuple[sa.Table, Iterable[Row]]) -> None:
    store = Store(url)
    store.write_now(publish_key)
    for table, rows in tables:
        left = iter(rows)
        while part := list(islice(left, AT_ONCE)):
            store.write_now(lambda c, t=table, p=part: insert(c, t, p))  # type: ignore[misc]
    store.close_now()
    if sa.make_url(url).get_backend_name() == "postgresql":
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
        engine.dispose()


def _ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def _names(number: int) -> tuple[str, str]:
    return f"Nome{number % GIVEN_NAMES:02}", f"Famiglia{number % FAMILY_NAMES:04}"


def _household_seen(number: int) -> Row:
    return {
        "household_id": facts.household(number),
        "centre_id": facts.CENTRE,
        "holder_id": person(number),
        "erased": False,
        "changed_at": _ago(700),
    }


def _person_seen(number: int) -> Row:
    given, family = _names(number)
    return {
        "person_id": person(number),
        "household_id": facts.household(number),
        "centre_id": facts.CENTRE,
        "given_name": given,
        "family_name": family,
        "family_key": family.lower(),
        "given_key": given.lower(),
        "birth_date": None,
        "revision": 1,
        "erased": False,
    }


def _activity(number: int) -> Row:
    return {
        "id": f"activity-{number:03}",
        "centre_id": facts.CENTRE,
        "title": f"Doposcuola {number}",
        "area": "education",
        "description": "",
        "min_age": None,
        "max_age": None,
        "default_capacity": SIGN_UPS,
        "waiting_list_policy": "next_who_fits",
        "created_at": _ago(800),
    }


def _starts(number: int) -> datetime:
    """Every hundredth in the next weeks, the others in the two years before."""
    if number % 100 == 0:
        return _ago(-0.5 - number / 100)
    return _ago(1 + 700 * number / SESSIONS)


def _session(number: int) -> Row:
    taken = bool(number % 100)
    return {
        "id": session(number),
        "activity_id": f"activity-{number % 20:03}",
        "centre_id": facts.CENTRE,
        "title": f"Doposcuola {number % 20}",
        "starts_at": _starts(number),
        "ends_at": _starts(number) + timedelta(hours=2),
        "capacity": SIGN_UPS - 2,
        "place": "Sala grande",
        "state": "scheduled",
        "cancel_reason": "",
        "scheduled_at": _ago(750),
        "changed_at": _ago(750),
        "register_revision": 1 if taken else 0,
        "register_present": SIGN_UPS - 3 if taken else 0,
        "register_absent": 3 if taken else 0,
        "register_taken_at": _starts(number) + timedelta(hours=2) if taken else None,
    }


def _who(number: int, at: int, size: Size) -> int:
    return (number * SIGN_UPS + at) % size.households


def _sign_up(number: int, at: int, size: Size) -> Row:
    waits = number % 100 == 0 and at >= SIGN_UPS - 2
    return {
        "id": f"sign-up-{number:05}-{at:02}",
        "session_id": session(number),
        "person_id": person(_who(number, at, size)),
        "household_id": facts.household(_who(number, at, size)),
        "state": "waiting" if waits else "confirmed",
        "priority": 0,
        "group_id": "",
        "entered_at": _starts(number) - timedelta(days=20, minutes=-at),
        "offered_at": None,
        "answer_by": None,
        "confirmed_at": None if waits else _starts(number) - timedelta(days=20),
        "ended_at": None,
        "reason": "",
        "recovered": False,
    }


def _attendance(number: int, at: int, size: Size) -> Row:
    return {
        "session_id": session(number),
        "person_id": person(_who(number, at, size)),
        "household_id": facts.household(_who(number, at, size)),
        "signup_id": f"sign-up-{number:05}-{at:02}",
        "present": at >= 3,
        "expected": True,
        "revision": 1,
        "recorded_at": _starts(number) + timedelta(hours=2),
    }


def _contact(number: int) -> Row:
    given, family = _names(number)
    return {
        "person_id": person(number),
        "household_id": facts.household(number),
        "centre_id": facts.CENTRE,
        "given_name": given,
        "family_name": family,
        "holder": True,
        "language": ("it", "ar", "es")[number % 3],
        "email": f"famiglia{number}@example.org",
        "phone": "",
        "messages_allowed": True,
        "revision": 1,
        "erased": False,
    }


def _message(number: int, size: Size) -> Row:
    home = number % size.households
    return {
        "id": message(number),
        "intent": f"intent-{number:08}",
        "kind": "signup_confirmed",
        "centre_id": facts.CENTRE,
        "household_id": facts.household(home),
        "person_id": person(home),
        "data": {"title": "Doposcuola", "starts_at": _ago(10).isoformat()},
        "useful_until": None,
        "state": "permanent_failure" if number % 200 == 0 else "delivered",
        "correlation": "",
        "created_at": _ago(700 * (1 - number / (5 * size.households))),
        "read_at": None if number % 2 else _ago(1),
    }


def _delivery(number: int, size: Size) -> Row:
    home = number % size.households
    created = _ago(700 * (1 - number / (5 * size.households)))
    return {
        "id": f"delivery-{number:08}",
        "message_id": message(number),
        "intent": f"intent-{number:08}",
        "person_id": person(home),
        "channel": "email",
        "centre_id": facts.CENTRE,
        "state": "permanent_failure" if number % 200 == 0 else "delivered",
        "why": "",
        "tries": 1,
        "created_at": created,
        "due_at": created,
        "next_attempt": None,
        "lease_id": None,
        "lease_until": None,
        "address_digest": None,
        "content_digest": None,
        "taken_at": created,
        "ended_at": created,
        "done_by": None,
    }


def _zone(number: int) -> str:
    return f"Zona {number % 12}"


def _zoned(number: int) -> Row:
    return {
        "household_id": facts.household(number),
        "centre_id": facts.CENTRE,
        "zone": _zone(number),
        "erased": False,
        "changed_at": _ago(700),
    }


def _known(number: int) -> Row:
    given, family = _names(number)
    return {
        "person_id": person(number),
        "household_id": facts.household(number),
        "given_name": given,
        "family_name": family,
        "language": "it",
        "holder": True,
        "revision": 1,
    }


AREAS = ("education", "work", "elderly", "health", "home")


def _organisation(number: int) -> Row:
    return {
        "id": organisation(number),
        "centre_id": facts.CENTRE,
        "name": f"Cooperativa {number:03}",
        "description": "",
        "email": "",
        "phone": "",
        "website": "",
        "areas": [AREAS[number % 5]],
        "zones": [],
        "languages": ["it"],
        "registered_at": _ago(800),
        "changed_at": _ago(800),
    }


def _reach(number: int) -> Row:
    return {"kind": "area", "value": AREAS[number % 5], "organisation_id": organisation(number)}


def _need(number: int, size: Size) -> Row:
    home = 2 * number % size.households
    return {
        "id": f"need-{number:07}",
        "centre_id": facts.CENTRE,
        "household_id": facts.household(home),
        "zone": _zone(home),
        "area": AREAS[number % 5],
        "recorded_at": _ago(700 * (1 - 2 * number / size.households)),
        "recorded_by": "account-staff",
    }


def _referral(number: int, size: Size) -> Row:
    home = 2 * number % size.households
    at = _ago(700 * (1 - 2 * number / size.households))
    is_open = number % 50 == 0
    return {
        "id": referral(number),
        "centre_id": facts.CENTRE,
        "digest": "",
        "need_id": f"need-{number:07}",
        "household_id": facts.household(home),
        "zone": _zone(home),
        "area": AREAS[number % 5],
        "from_organisation_id": "",
        "to_organisation_id": organisation(number),
        "service_id": "",
        "overridden": False,
        "state": "requested" if is_open else "completed",
        "closed": not is_open,
        "round": 1,
        "reason": "",
        "outcome": "" if is_open else "met",
        "recorded_at": at,
        "recorded_by": "account-staff",
        "requested_at": at,
        "answer_by": at + timedelta(days=7),
        "expires_at": at + timedelta(days=30),
        "reminded": False,
        "overdue": False,
        "changed_at": at,
    }


def _step(number: int) -> Row:
    return {
        "referral_id": referral(number),
        "number": 1,
        "round": 1,
        "at": _ago(100),
        "actor": "account-staff",
        "side": "sender",
        "action": "request",
        "state": "requested",
        "reason": "",
        "outcome": "",
        "organisation_id": organisation(number),
    }


def _account(number: int) -> Row:
    given, family = _names(number)
    return {
        "id": account(number),
        "email": f"famiglia{number}@example.org",
        "name": f"{given} {family}",
        "password_hash": "",
        "password_chosen": True,
        "roles": ["family"],
        "kind": "family",
        "centre_id": facts.CENTRE,
        "household_id": facts.household(number),
        "organisation_id": "",
        "producer_id": "",
        "language": "it",
        "disabled": False,
        "governs": False,
        "created_at": _ago(700),
        "changed_at": _ago(700),
    }


def _signed_in(number: int) -> Row:
    return {
        "id": f"signed-in-{number:07}",
        "secret": f"secret-{number:07}",
        "account_id": account(number),
        "used_by": "browser",
        "name": "",
        "scopes": None,
        "key_id": "key",
        "created_at": _ago(10),
        "seen_at": _ago(1),
        "ends_at": _ago(-30),
        "idle_seconds": None,
        "revoked_at": None,
        "token_until": _ago(1),
        "centre_id": "",
    }
