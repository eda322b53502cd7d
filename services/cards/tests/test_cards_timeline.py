"""What cards remembers of everybody else: the timeline, sign-ups, referrals; rebuilt the same."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from cards import commands, queries, store, words
from cards.projections import TIMELINE, TIMELINE_OF
from contracts import Event, activities, network, notifications
from contracts.activities import SignUpCancelled, SignUpConfirmed, SignUpOffered, SignUpWaitlisted
from contracts.identity import CentreOpened
from contracts.schemas import example
from messaging import ProjectionTransaction, Received
from messaging.envelope import decode
from messaging.testing import orders
from runtime.clock import FixedClock
from web import formats
from web.paging import Paging
from web.translations import LANGUAGES, Translations


def signup(house: Any, kind: type[Event], minutes: int = 0, **more: Any) -> Event:
    return kind(
        session_id="session-1",
        centre_id=house.centre,
        signup_id="signup-1",
        person_id=house.person_id,
        household_id=house.id,
        title="Spazio compiti",
        starts_at=house.now + timedelta(hours=3),
        at=house.now + timedelta(minutes=minutes),
        **more,
    )


def referral(house: Any, kind: type[Event], minutes: int = 0, **more: Any) -> Event:
    return kind(
        centre_id=house.centre,
        household_id=house.id,
        to_organisation_id="organisation-1",
        at=house.now + timedelta(minutes=minutes),
        **{"referral_id": "referral-1", **more},
    )


def happened(bench: Any, house: Any) -> list[queries.Happened]:
    return bench.read(lambda c: queries.timeline(c, house.id, Paging())).items


def test_a_row_keeps_its_facts_as_their_event_says_them(bench: Any) -> None:
    def remembered(connection: sa.Connection, event: Event) -> dict[str, Any]:
        p = ProjectionTransaction(connection, {})
        received = decode(bench.record(event)).content
        assert isinstance(received, Received)
        p.apply(TIMELINE, received)
        row = sa.select(store.timeline.c.facts).where(store.timeline.c.event_id == received.id)
        return dict(p.connection.execute(row).scalar_one())

    for kind, (_, names) in TIMELINE_OF.items():
        event = example(kind)
        said = json.loads(event.model_dump_json())
        facts = bench.store.write_now(partial(remembered, event=event))
        assert {name: facts[name] for name in names} == {name: said[name] for name in names}, kind


def test_everything_around_a_household_is_one_row_each(bench: Any, clock: FixedClock) -> None:
    house, other = bench.household(), bench.household("Zoe")
    bench.rule(per_euro=1, per_attendance=5)
    house.give(20)
    bench.deliver(
        house.asks(10),
        house.buys(money=500, points=10),
        house.returns(money=100, points=1),
        house.attends(),
        signup(house, SignUpConfirmed),
        notifications.MessageDelivered(
            message_id="m1",
            person_id=house.person_id,
            household_id=house.id,
            centre_id=house.centre,
            kind="reminder",
            channel=notifications.Channel.EMAIL,
            delivered_at=house.now,
        ),
        referral(house, network.ReferralRequested, area="work", answer_by=house.now),
        network.NeedRecorded(
            need_id="n1",
            centre_id=house.centre,
            household_id=house.id,
            zone="via Satta",
            area="addiction",
            recorded_at=house.now,
        ),
        other.buys(money=900, sale="of-another"),
        house.buys(money=900, sale="of-nobody", household_id="", card_id=""),
    )
    bench.deliver_own()
    rows = happened(bench, house)
    kinds = sorted(row.kind for row in rows)
    assert kinds == sorted(
        ["cards.household.registered", "cards.card.issued", "cards.points.credited",
         "cards.hold.placed", "cards.hold.captured", "shop.sale.completed",
         "cards.points.credited", "shop.sale.refunded", "cards.points.credited",
         "cards.points.debited", "activities.attendance.recorded", "cards.points.credited",
         "activities.signup.confirmed", "notifications.message.delivered",
         "network.referral.requested", "network.need.recorded"]
    )  # fmt: skip
    kept = str([row.facts for row in rows])
    assert "addiction" not in kept
    assert "work" not in kept
    bench.rebuild_equals()


def test_it_is_paged_the_latest_first(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    for number in range(7):
        clock.advance(timedelta(minutes=1))
        bench.deliver(house.buys(money=100, sale=f"s{number}"))
    seen, after = [], ""
    while True:
        page = bench.read(lambda c, after=after: queries.timeline(c, house.id, Paging(after, 3)))
        seen += [row.facts["sale_id"] for row in page.items]
        if page.next is None:
            break
        after = page.next
    assert seen == [f"s{number}" for number in reversed(range(7))]


def test_a_sign_up_stands_as_its_newest_word_in_every_order(bench: Any) -> None:
    house = bench.household()
    plan = [
        ("a", lambda: signup(house, SignUpWaitlisted, 0, position=1)),
        ("b", lambda: signup(house, SignUpOffered, 1, answer_by=house.now)),
        ("c", lambda: signup(house, SignUpConfirmed, 2)),
    ]
    for order in orders(plan, key=lambda step: step[0]):
        bench.settle([bench.record(make()) for _, make in order])
        (seen,) = bench.read(lambda c: queries.signups(c, house.id, house.now))
        assert seen.state == "confirmed"
    bench.deliver(signup(house, SignUpCancelled, 3, reason="by_family"))
    assert bench.read(lambda c: queries.signups(c, house.id, house.now)) == []
    bench.rebuild_equals()


def test_open_referrals_are_counted(bench: Any) -> None:
    house = bench.household()

    def count() -> int:
        return bench.read(lambda c: queries.open_referrals(c, house.id))

    bench.deliver(referral(house, network.ReferralRequested, area="work", answer_by=house.now))
    assert count() == 1
    bench.deliver(referral(house, network.ReferralAccepted, 1))
    assert count() == 1
    bench.deliver(referral(house, network.ReferralCompleted, 2, outcome="met"))
    assert count() == 0
    bench.deliver(referral(house, network.ReferralCancelled, 1, reason="no_longer_needed"))
    assert count() == 0
    bench.rebuild_equals()


def told_to_family(bench: Any, house: Any) -> list[str]:
    page = bench.read(lambda c: queries.told_to_family(c, house.id, Paging()))
    return [row.kind for row in page.items if row.kind.startswith("network.")]


def test_the_family_reads_nothing_of_a_referral_that_goes_on_without_its_consent(
    bench: Any,
) -> None:
    house = bench.household()
    secret: dict[str, Any] = {"referral_id": "secret", "overridden": True}
    bench.deliver(
        network.NeedRecorded(
            need_id="n1",
            centre_id=house.centre,
            household_id=house.id,
            zone="via Satta",
            area="children",
            recorded_at=house.now,
        ),
        referral(house, network.ReferralRequested, area="work", answer_by=house.now),
        referral(house, network.ReferralRequested, 1, area="home", answer_by=house.now, **secret),
        referral(house, network.ReferralOverdue, 2, **secret),
        referral(
            house,
            network.ReferralRerouted,
            3,
            previous_organisation_id="organisation-2",
            answer_by=house.now,
            **secret,
        ),
        referral(house, network.ReferralRejected, 4, reason="no_capacity", **secret),
        referral(house, network.ReferralExpired, 4, **secret),
        referral(house, network.ReferralAccepted, 5, **secret),
        referral(house, network.ReferralCompleted, 6, outcome="met", **secret),
        referral(house, network.ReferralCancelled, 7, reason="no_longer_needed", **secret),
        referral(house, network.ReferralAccepted, 8),
    )
    assert told_to_family(bench, house) == [
        "network.referral.accepted",
        "network.referral.requested",
    ]
    at_the_desk = [row.kind for row in happened(bench, house)]
    assert len([kind for kind in at_the_desk if kind.startswith("network.")]) == 11
    bench.rebuild_equals()


@pytest.mark.parametrize("overridden", [True, False])
def test_of_a_referral_of_an_earlier_version_the_family_reads_once_its_consent_is_known(
    bench: Any, overridden: bool
) -> None:
    """Its facts did not say whether it went on without; later ones do."""
    house = bench.household()
    asked = referral(house, network.ReferralRequested, area="work", answer_by=house.now)
    body = asked.model_dump(mode="json", exclude={"overridden"})
    bench.settle([bench.record(asked)._replace(value=json.dumps(body).encode())])
    assert told_to_family(bench, house) == []
    bench.deliver(referral(house, network.ReferralAccepted, 1, overridden=overridden))
    both = ["network.referral.accepted", "network.referral.requested"]
    assert told_to_family(bench, house) == ([] if overridden else both)
    bench.rebuild_equals()


def test_days_end_in_the_zone_of_the_centre(bench: Any, clock: FixedClock) -> None:
    bench.deliver(
        CentreOpened(
            centre_id="centre-1", name="Las Palmas", time_zone="Atlantic/Canary",
            opened_at=clock.now(),
        )
    )  # fmt: skip
    house = bench.household()
    bench.rule(per_euro=1, valid_days=1)
    bench.deliver(house.buys(money=100))
    seen = bench.read(lambda c: queries.points(c, house.id, clock.now()))
    ends = seen.buckets[0].expires_at
    assert ends is not None
    assert ends.isoformat() == "2026-11-17T23:59:59+00:00"
    bench.rebuild_equals()


def test_erasing_and_changing_are_told_as_well(bench: Any) -> None:
    house = bench.household()
    bench.run(lambda tx: commands.erase_household(tx, house.id))
    bench.deliver_own()
    assert {row.kind for row in happened(bench, house)} >= {
        "cards.household.erased",
        "cards.card.blocked",
    }


FACTS: dict[str, Any] = {
    "purpose": "messages", "stage": "autonomy", "points": 5, "captured": 1, "reason": "lost",
    "total_cents": 1250, "title": "Spazio compiti", "starts_at": "2026-11-16T15:00:00Z",
    "answer_by": "2026-11-18T15:00:00Z", "channel": "email", "outcome": "met",
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_row_has_a_sentence_in_every_language(
    language: str, clock: FixedClock
) -> None:
    to = Translations("cards").of(language)
    for event in TIMELINE_OF:
        for reason in ("lost", "sale", "attendance", "refund", "adjustment", "points.too_few",
                       "card.blocked", "attendance_corrected", "allowance"):  # fmt: skip
            for flag in (True, False):
                row = queries.Happened(
                    event_id="e",
                    at=clock.now(),
                    kind=event.TYPE,
                    facts=FACTS | {"reason": reason, "present": flag, "timed_out": flag},
                )
                told = words.tell(to, row, formats.ZONE)
                assert told
                assert "{" not in told, (event.TYPE, told)
    assert activities.AttendanceRecorded in TIMELINE_OF


def test_what_settles_a_debt_of_points_is_no_credit_on_the_timeline(bench: Any) -> None:
    house = bench.household()
    bench.rule(per_attendance=5)
    bench.deliver(house.attends(), house.buys(points=5))
    bench.deliver(house.attends(False, revision=2), house.attends(revision=3))
    bench.deliver_own()
    credited = [row for row in happened(bench, house) if row.kind == "cards.points.credited"]
    assert [row.facts["points"] for row in credited] == [5]
    bench.rebuild_equals()
