"""Who takes part in the tests of referrals, and what they do."""

from __future__ import annotations

from datetime import UTC, date, datetime

import sqlalchemy as sa

from contracts.cards import (
    ConsentGiven,
    ConsentWithdrawn,
    HouseholdRegistered,
    Purpose,
)
from contracts.identity import CentreOpened
from contracts.people import PersonDescribed
from messaging.testing import Bench
from network import commands, queries
from network.app import SERVICE
from network.commands.referrals import Saying
from network.domain.referral import Action
from network.models import (
    NewOrganisation,
    NewReferral,
    ReferralState,
    ReferralView,
)
from network.store import Who

CENTRE = "centre-1"
STAFF = Who("worker", CENTRE, staff=True)
AUSER = Who("auser", CENTRE, organisation_id="auser")
TORRI = Who("torri", CENTRE, organisation_id="torri")
ELSEWHERE = Who("stranger", "centre-2", staff=True)
NOW = datetime(2026, 11, 16, 9, tzinfo=UTC)
SECRET = "She was hit by her husband"


def prepare(bench: Bench) -> None:
    for name in ("auser", "torri"):
        bench.run(
            lambda tx, name=name: commands.register_organisation(
                tx, STAFF, NewOrganisation(id=name, name=name.title())
            )
        )
    bench.deliver(
        CentreOpened(centre_id=CENTRE, name="Quarto Oggiaro", opened_at=NOW),
        registered("h1"),
        consent("h1"),
        described("p1", "h1"),
    )


def registered(household: str, centre: str = CENTRE, at: datetime = NOW) -> HouseholdRegistered:
    return HouseholdRegistered(
        household_id=household,
        centre_id=centre,
        holder_id=f"p-{household}",
        person_ids=(f"p-{household}",),
        zone="north",
        registered_at=at,
    )


def consent(household: str, at: datetime = NOW) -> ConsentGiven:
    return ConsentGiven(household_id=household, purpose=Purpose.REFERRALS, given_at=at)


def withdrawn(household: str, at: datetime = NOW) -> ConsentWithdrawn:
    return ConsentWithdrawn(household_id=household, purpose=Purpose.REFERRALS, withdrawn_at=at)


def described(person: str, household: str, revision: int = 1) -> PersonDescribed:
    return PersonDescribed(
        person_id=person,
        household_id=household,
        centre_id=CENTRE,
        revision=revision,
        given_name="Samira",
        family_name="Haddad",
        holder=True,
        language="ar",
        phone="+393331234567",
        birth_date=date(1990, 1, 1),
        described_at=NOW,
    )


def ask(bench: Bench, who: Who = STAFF, centre: str = CENTRE, **more: object) -> str:
    asked = NewReferral.model_validate(
        {"area": "work", "household_id": "h1", "to_organisation_id": "auser", "note": SECRET} | more
    )
    return bench.run(
        lambda tx: commands.record_referral(tx, who, asked, centre_id=centre), centre=centre
    ).id


def do(bench: Bench, who: Who, referral: str, action: Action, **saying: str) -> ReferralState:
    return bench.run(lambda tx: commands.act_on(tx, who, referral, action, Saying(**saying)))


def read(bench: Bench, who: Who, referral: str) -> ReferralView:
    return bench.run(lambda tx: queries.read_referral(tx, who, referral))


def rows(bench: Bench, table: sa.Table) -> list[dict[str, object]]:
    return [dict(row) for row in bench.read(lambda c: c.execute(sa.select(table)).mappings().all())]


def differences(bench: Bench) -> list[str]:
    return [str(d) for check in SERVICE.checks for d in bench.read(check.run)]
