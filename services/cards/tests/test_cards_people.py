"""People told to the others, forgotten on demand; cards; what a household is found by."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from cards import commands, queries, store
from cards.domain import card as domain
from cards.domain.card import BlockReason, digest_of, new_token, number_of
from cards.domain.household import phone_of, query_words, search_words
from cards.models import HouseholdChange, HouseholdShown, MemberChange
from cards.store import people
from contracts import cards as facts
from contracts import people as people_facts
from contracts.cards import Purpose, Stage
from messaging.tables import outbox
from runtime.refusals import Invalid, NotFound, Refusal


def test_a_household_and_its_people_are_told(bench: Any) -> None:
    house = bench.household("Amina", "Luca", consents=[Purpose.MESSAGES])
    (told,) = bench.emitted(facts.HouseholdRegistered)
    assert (told.household_id, told.centre_id, told.zone) == (house.id, "centre-1", "via Satta")
    described = bench.emitted(people_facts.PersonDescribed)
    assert [p.person_id for p in described] == list(told.person_ids)
    assert [(p.given_name, p.holder, p.revision, p.messages_allowed) for p in described] == [
        ("Amina", True, 1, True),
        ("Luca", False, 1, True),
    ]


def test_every_change_of_a_person_has_a_greater_revision(bench: Any) -> None:
    house = bench.household("Amina", "Luca")
    amina, luca = (p.person_id for p in bench.emitted(people_facts.PersonDescribed))
    change = HouseholdChange(members=[MemberChange(id=amina, phone="333 123 4567")])
    bench.run(lambda tx: commands.change_household(tx, house.id, change))
    new_holder = HouseholdChange(members=[MemberChange(id=luca, holder=True)])
    bench.run(lambda tx: commands.change_household(tx, house.id, new_holder))
    bench.run(lambda tx: commands.give_consent(tx, house.id, Purpose.MESSAGES))
    bench.run(lambda tx: commands.give_consent(tx, house.id, Purpose.MESSAGES))
    bench.run(lambda tx: commands.withdraw_consent(tx, house.id, Purpose.MESSAGES))
    bench.run(lambda tx: commands.withdraw_consent(tx, house.id, Purpose.MESSAGES))
    told: dict[str, list[tuple[int, str, bool, bool]]] = {amina: [], luca: []}
    for p in bench.emitted(people_facts.PersonDescribed):
        told[p.person_id].append((p.revision, p.phone, p.holder, p.messages_allowed))
    assert told[amina] == [
        (1, "", True, False),
        (2, "+393331234567", True, False),
        (3, "+393331234567", False, False),
        (4, "+393331234567", False, True),
        (5, "+393331234567", False, False),
    ]
    assert told[luca] == [
        (1, "", False, False),
        (2, "", True, False),
        (3, "", True, True),
        (4, "", True, False),
    ]
    assert len(bench.emitted(facts.ConsentGiven)) == 1
    assert len(bench.emitted(facts.ConsentWithdrawn)) == 1
    assert len(bench.emitted(facts.HouseholdChanged)) == 2


def test_a_change_tells_who_left_and_who_held_the_card_before(bench: Any) -> None:
    house = bench.household("Amina", "Luca", "Zoe")
    amina, luca, zoe = (p.person_id for p in bench.emitted(people_facts.PersonDescribed))
    for change in (
        HouseholdChange(zone="via Gazzoletti"),
        HouseholdChange(members=[MemberChange(id=luca, holder=True)]),
        HouseholdChange(removed=[zoe]),
        HouseholdChange(members=[MemberChange(id=amina, holder=True)], removed=[luca]),
        HouseholdChange(members=[MemberChange(given_name="Zoe", family_name="Rossi")]),
    ):
        bench.run(lambda tx, change=change: commands.change_household(tx, house.id, change))
    told = bench.emitted(facts.HouseholdChanged)
    assert [(one.left_ids, one.holder_before) for one in told] == [
        ((), ""),
        ((), amina),
        ((zoe,), ""),
        ((luca,), luca),
        ((), ""),
    ]


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda house: HouseholdChange(zone="via Gazzoletti"),
        lambda house: HouseholdChange(
            members=[MemberChange(id=house.person_id, email="amina@example.org")]
        ),
        lambda house: HouseholdChange(
            members=[
                MemberChange(id=house.person_id, holder=False),
                MemberChange(given_name="Zoe", family_name="Rossi", holder=True),
            ]
        ),
    ],
    ids=["zone", "contact", "holder"],
)
def test_what_somebody_else_changed_of_a_household_meanwhile_is_not_undone(
    bench: Any, meanwhile: Any
) -> None:
    house = bench.household()
    shown = HouseholdShown.model_validate(bench.read(lambda c: queries.household(c, house.id)))
    bench.run(lambda tx: commands.change_household(tx, house.id, meanwhile(house), seen=shown))
    now = bench.read(lambda c: queries.household(c, house.id))
    late = HouseholdChange(zone="via Satta", members=[MemberChange(id=house.person_id, email="")])
    with pytest.raises(Refusal, match=r"household\.changed_meanwhile"):
        bench.run(lambda tx: commands.change_household(tx, house.id, late, seen=shown))
    assert bench.read(lambda c: queries.household(c, house.id)) == now


def test_the_path_of_a_person(bench: Any) -> None:
    house = bench.household()
    for stage in (Stage.ACCOMPANIMENT, Stage.ACCOMPANIMENT, Stage.AUTONOMY, Stage.WELCOME):
        bench.run(
            lambda tx, stage=stage: commands.change_stage(tx, house.id, house.person_id, stage)
        )
    stages = [s.stage for s in bench.emitted(facts.StageChanged)]
    assert stages == [Stage.ACCOMPANIMENT, Stage.AUTONOMY, Stage.WELCOME]


def test_who_is_erased_leaves_no_trace_but_an_id(bench: Any) -> None:
    house = bench.household("Amina", "Luca", consents=[Purpose.REFERRALS])
    house.give(40)
    bench.deliver(house.asks(10))
    bench.run(lambda tx: commands.erase_household(tx, house.id))
    assert [e.points for e in bench.emitted(facts.PointsExpired)] == [30]
    assert [b.card_id for b in bench.emitted(facts.CardBlocked)] == [house.card_id]
    assert len(bench.emitted(facts.ConsentWithdrawn)) == 1
    assert len(bench.emitted(facts.HouseholdErased)) == 1
    tombstones = bench.read(
        lambda c: c.execute(
            sa.select(outbox.c.key, outbox.c.body).where(outbox.c.type.like("%erased%"))
        ).all()
    )
    assert sum(1 for _, body in tombstones if body is None) == 2
    for described in bench.emitted(people_facts.PersonDescribed):
        assert (described.given_name, described.family_name, described.phone) == ("", "", "")
    left = bench.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(store.search_word)))
    assert left == 0
    # an hour later it is said again, so that Kafka ends the segment with the names and cleans it
    bench.clock.advance(people.ROLLS_AFTER)
    bench.tick()
    again = bench.read(
        lambda c: c.scalars(
            sa.select(outbox.c.key).where(outbox.c.type.like("cards.person.erased%"))
        ).all()
    )
    assert sorted(again) == sorted(2 * [key for key, body in tombstones if body is None])
    # the till goes on: the sale that was under way ends as it should
    bench.deliver(house.buys(points=10))
    assert house.points == (0, 0)
    with pytest.raises(NotFound):
        house.give(5)


def test_what_an_erased_household_loses_is_told_after_that_it_is_erased(bench: Any) -> None:
    """Whoever writes to families has forgotten this one when its points go."""
    house = bench.household(consents=[Purpose.MESSAGES])
    house.give(40)
    bench.run(lambda tx: commands.erase_household(tx, house.id))
    told = [type(event) for event in bench.emitted() if getattr(event, "household_id", "")]
    assert told[-2:] == [facts.HouseholdErased, facts.PointsExpired]


def test_what_is_of_another_centre_is_not_there(bench: Any) -> None:
    house = bench.household()
    for command in (
        lambda tx: commands.erase_household(tx, house.id),
        lambda tx: commands.change_household(tx, house.id, HouseholdChange(zone="x")),
        lambda tx: commands.give_consent(tx, house.id, Purpose.MESSAGES),
        lambda tx: commands.issue_card(tx, house.id, "d" * 64),
        lambda tx: commands.block_card(tx, house.card_id, BlockReason.LOST),
        lambda tx: commands.replace_card(tx, house.card_id, "d" * 64),
    ):
        with pytest.raises(NotFound):
            bench.run(command, centre="centre-2")


def test_a_replaced_card_is_blocked_and_told(bench: Any) -> None:
    house = bench.household()
    digest = digest_of(new_token()) or ""
    bench.run(lambda tx: commands.block_card(tx, house.card_id, BlockReason.LOST))
    new = bench.run(lambda tx: commands.replace_card(tx, house.card_id, digest))
    (told,) = bench.emitted(facts.CardReplaced)
    assert (told.card_id, told.new_card_id, told.token_digest) == (house.card_id, new.id, digest)
    with pytest.raises(Refusal, match=r"card\.replaced"):
        bench.run(lambda tx: commands.replace_card(tx, house.card_id, "e" * 64))
    house.give(10)
    bench.deliver(house.asks(5))
    assert [d.reason for d in bench.emitted(facts.HoldDeclined)] == ["card.blocked"]


@given(st.integers(0, 9 * 10**10 - 1))
def test_card_numbers_have_twelve_digits_and_find_a_wrong_one(drawn: int) -> None:
    number = domain.new_number(lambda _: drawn)
    assert len(number) == 12
    assert number_of(number) == number
    assert number_of(domain.grouped(number)) == number
    for place in range(12):
        digit = (int(number[place]) + 1) % 10
        assert number_of(number[:place] + str(digit) + number[place + 1 :]) is None


@pytest.mark.parametrize(
    "typed", ["", "12345678901", "1234567890123", "abcdefghijkl", "４０１２３４５６７８９６"]
)
def test_what_is_no_card_number(typed: str) -> None:
    assert number_of(typed) is None


def test_a_token_has_more_than_128_bits_and_any_keyboard_types_it() -> None:
    token = new_token()
    assert len(token) * 5 >= 160
    assert digest_of(f" {token.lower()}\n") == digest_of(token)
    assert digest_of(token[:-1]) is None
    assert new_token() != token


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", ""),
        ("333 123 4567", "+393331234567"),
        ("0039 333 1234567", "+393331234567"),
        ("+34 612-345.678", "+34612345678"),
        ("02/1234567", "+39021234567"),
    ],
)
def test_phone_numbers_are_kept_one_way(typed: str, kept: str) -> None:
    assert phone_of(typed) == kept


@pytest.mark.parametrize("typed", ["12", "abc", "333 CALL ME", "+", "1" * 20, "٠١٢٣٤٥٦٧٨٩"])
def test_what_is_no_phone_number(typed: str) -> None:
    with pytest.raises(Invalid):
        phone_of(typed)


@given(st.text(max_size=40))
def test_what_somebody_is_called_finds_them(name: str) -> None:
    kept = search_words(name)
    for word in query_words(name):
        if not word.isdigit():
            assert word in kept


def test_words_are_found_without_case_or_accents() -> None:
    assert search_words("José-María", "D’Ángelo", phone="+393331234567") == {
        "jose", "maria", "d", "angelo", "393331234567", "3331234567",
    }  # fmt: skip
    assert query_words("+39 333 12") == ("3933312",)
    assert query_words("MARÍA  josé") == ("maria", "jose")
    assert query_words(" .,%_ ") == ()
