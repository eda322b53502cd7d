"""Households and their people: registered, changed, consenting, moving on, forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import sqlalchemy as sa

from cards import moves, store
from cards.commands.cards import block_all
from cards.commands.reach import centre_of, household_of
from cards.domain.household import check_birth_date, check_holder
from cards.models import (
    HouseholdChange,
    HouseholdNew,
    HouseholdShown,
    Member,
    MemberChange,
    MemberShown,
)
from cards.store import people
from cards.store.ledger import Ledger
from cards.store.people import Person
from cards.store.rows import HouseholdRow
from contracts import cards as facts
from contracts.cards import Purpose, Stage
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotFound, Refusal
from runtime.settings import Settings

_AT_ONCE = 500


def register_household(tx: Transaction, new: HouseholdNew) -> str:
    """A household with its members, zone and consents; gives its id."""
    centre_id = centre_of(tx, new.centre_id)
    household_id = tx.ids.new()
    persons = [
        _person(tx, household_id, member, position) for position, member in enumerate(new.members)
    ]
    pairs = zip(persons, new.members, strict=True)
    holder = next(person for person, member in pairs if member.holder)
    tx.connection.execute(
        sa.insert(store.household).values(
            id=household_id,
            centre_id=centre_id,
            holder_id=holder.id,
            zone=new.zone,
            registered_at=tx.now,
            changed_at=tx.now,
        )
    )
    purposes = list(dict.fromkeys(new.consents))
    for purpose in purposes:
        people.give(tx.connection, household_id, purpose, tx.now)
    tx.emit(
        facts.HouseholdRegistered(
            household_id=household_id,
            centre_id=centre_id,
            holder_id=holder.id,
            person_ids=tuple(person.id for person in persons),
            zone=new.zone,
            registered_at=tx.now,
        ),
        centre=centre_id,
    )
    for purpose in purposes:
        tx.emit(
            facts.ConsentGiven(household_id=household_id, purpose=purpose, given_at=tx.now),
            centre=centre_id,
        )
    people.put(tx, centre_id, persons, holder.id, messages=Purpose.MESSAGES in purposes)
    return household_id


def household_changed_meanwhile() -> Refusal:
    """Somebody else changed the household since it was looked at."""
    return Refusal(
        "household.changed_meanwhile",
        N_("Somebody else has changed this household meanwhile."),
        N_("Look at it as it is now, with what you typed, then save again."),
    )


def change_household(
    tx: Transaction,
    household_id: str,
    change: HouseholdChange,
    *,
    seen: HouseholdShown | None = None,
) -> bool:
    """Zone, members, holder. Who leaves is forgotten; the holder cannot leave before another is.

    Returns whether somebody left or another person holds it: then nobody signs in for the household
    until staff have written new passwords. ``seen`` is the household that the caller looked at:
    when something of it is different by now, nothing is written, and
    Refusal("household.changed_meanwhile") is raised.
    """
    household = household_of(tx, household_id)
    persons = people.of(tx.connection, household_id)
    if seen is not None and seen != _shown(tx, household_id, persons):
        raise household_changed_meanwhile()
    kept = {person.id: person for person in persons}
    for removed in dict.fromkeys(change.removed):
        if removed not in kept:
            raise _no_member("removed")
        del kept[removed]
    before = holder_id = people.holder_of(tx.connection, household_id)
    position = max((person.position for person in persons), default=0)
    touched: dict[str, Person] = {}
    for place, wanted in enumerate(change.members):
        if wanted.id:
            person = kept.get(wanted.id)
            if person is None:
                raise _no_member(f"members.{place}.id")
            _change(tx, person, wanted, place)
        else:
            position += 1
            person = _joining(tx, household_id, wanted, position, place)
            kept[person.id] = person
        touched[person.id] = person
        if wanted.holder:
            holder_id = person.id
    named = [change_.holder for change_ in change.members].count(True)
    check_holder([True] * max(named, 1) + [False] * (len(kept) - 1) if kept else [])
    if holder_id not in kept:
        raise Invalid(
            "household.holder_leaves",
            N_("The holder cannot leave the household."),
            N_("Make another member the holder first."),
            field="removed",
        )
    left = [one.id for one in persons if one.id not in kept]
    if holder_id != before:
        touched |= {one: kept[one] for one in (before, holder_id) if one in kept}
    zone = people.zone_of(tx.connection, household_id) if change.zone is None else change.zone
    tx.connection.execute(
        sa.update(store.household)
        .where(store.household.c.id == household_id)
        .values(zone=zone, holder_id=holder_id, changed_at=tx.now)
    )
    tx.emit(
        facts.HouseholdChanged(
            household_id=household_id,
            centre_id=household.centre_id,
            holder_id=holder_id,
            person_ids=tuple(kept),
            zone=zone,
            changed_at=tx.now,
            left_ids=tuple(left),
            holder_before=before if holder_id != before else "",
        ),
        centre=household.centre_id,
    )
    messages = Purpose.MESSAGES in people.consents(tx.connection, household_id)
    people.put(tx, household.centre_id, list(touched.values()), holder_id, messages=messages)
    people.erase(tx, household.centre_id, left)
    return bool(left) or holder_id != before


def give_consent(tx: Transaction, household_id: str, purpose: Purpose) -> None:
    """The holder agrees to a purpose; a purpose already agreed to stays as it is."""
    household = household_of(tx, household_id)
    if purpose in people.consents(tx.connection, household_id):
        return
    people.give(tx.connection, household_id, purpose, tx.now)
    tx.emit(
        facts.ConsentGiven(household_id=household_id, purpose=purpose, given_at=tx.now),
        centre=household.centre_id,
    )
    _describe_again(tx, household, purpose)


def withdraw_consent(tx: Transaction, household_id: str, purpose: Purpose) -> None:
    """The holder withdraws; nothing happens when there was no consent."""
    household = household_of(tx, household_id)
    if purpose not in people.consents(tx.connection, household_id):
        return
    _withdraw(tx, household, purpose)
    _describe_again(tx, household, purpose)


def change_stage(tx: Transaction, household_id: str, person_id: str, stage: Stage) -> None:
    """A person moves on (or back) on the path; the same stage again changes nothing."""
    household = household_of(tx, household_id)
    person = next(
        (one for one in people.of(tx.connection, household_id) if one.id == person_id), None
    )
    if person is None:
        raise _no_member(None)
    if person.stage == stage:
        return
    people.set_stage(tx.connection, person_id, stage, tx.now)
    tx.emit(
        facts.StageChanged(
            household_id=household_id, person_id=person_id, stage=stage, changed_at=tx.now
        ),
        centre=household.centre_id,
    )


def erase_household(tx: Transaction, household_id: str) -> None:
    """Forget the people of a household: names, contacts, words to find them by, notes.

    Its cards are blocked, its consents end, its free points are lost; points in hold end with
    their sale. What remains has no name. That it is erased is told before the points: nobody gets a
    message of what they lose by it.
    """
    household = household_of(tx, household_id)
    for purpose in people.consents(tx.connection, household_id):
        _withdraw(tx, household, purpose)
    block_all(tx, household)
    persons = [person.id for person in people.of(tx.connection, household_id)]
    tx.connection.execute(
        sa.update(store.household)
        .where(store.household.c.id == household_id)
        .values(zone="", erased_at=tx.now, changed_at=tx.now)
    )
    tx.connection.execute(
        sa.update(store.transfer)
        .where(store.transfer.c.household_id == household_id)
        .values(note="")
    )
    tx.connection.execute(
        sa.delete(store.search_word).where(store.search_word.c.household_id == household_id)
    )
    household.erased = True
    tx.emit(
        facts.HouseholdErased(
            household_id=household_id, centre_id=household.centre_id, erased_at=tx.now
        ),
        centre=household.centre_id,
    )
    moves.forfeit(Ledger.of(tx), household)
    people.erase(tx, household.centre_id, persons)


def erase_again(tx: Transaction, _settings: Settings) -> None:
    """In a store from a backup: the people of every erased household are forgotten, also where the
    facts of each person are gone from the bus (a tombstone does not lie there for ever); and what
    was told of anybody who is forgotten says nothing, in whatever order it came back."""
    left = tx.connection.execute(
        sa.select(store.person.c.id, store.household.c.centre_id)
        .join(store.household, store.household.c.id == store.person.c.household_id)
        .where(store.household.c.erased_at.is_not(None), store.person.c.erased_at.is_(None))
        .order_by(store.person.c.id)
    ).all()
    for row in left:
        people.erase(tx, row.centre_id, [row.id])
    gone = tx.connection.scalars(
        sa.select(store.person.c.id).where(store.person.c.erased_at.is_not(None))
    ).all()
    for start in range(0, len(gone), _AT_ONCE):
        people.empty_outbox(tx.connection, gone[start : start + _AT_ONCE])


def _shown(tx: Transaction, household_id: str, persons: Sequence[Person]) -> HouseholdShown:
    holder_id = people.holder_of(tx.connection, household_id)
    members = [MemberShown(**asdict(one), holder=one.id == holder_id) for one in persons]
    return HouseholdShown(zone=people.zone_of(tx.connection, household_id), members=members)


def _person(tx: Transaction, household_id: str, member: Member, position: int) -> Person:
    check_birth(tx, member.birth_date, position)
    return Person(
        id=tx.ids.new(),
        household_id=household_id,
        position=position,
        given_name=member.given_name,
        family_name=member.family_name,
        birth_date=member.birth_date,
        language=member.language,
        email=member.email,
        phone=member.phone,
        stage=Stage.WELCOME,
        stage_at=tx.now,
        revision=0,
    )


def _joining(
    tx: Transaction, household_id: str, wanted: MemberChange, position: int, place: int
) -> Person:
    for name in ("given_name", "family_name"):
        if getattr(wanted, name) is None:
            raise Invalid(
                "person.name",
                N_("A new member needs a given name and a family name."),
                N_("Write both names."),
                field=f"members.{place}.{name}",
            )
    values = wanted.model_dump(exclude={"id", "holder"}, exclude_none=True)
    person = _person(tx, household_id, Member(**values), position)
    check_birth(tx, person.birth_date, place)
    return person


def _change(tx: Transaction, person: Person, wanted: MemberChange, place: int) -> None:
    given: set[str] = wanted.model_fields_set - {"id", "holder"}
    check_birth(tx, wanted.birth_date, place)
    for name in given:
        value = getattr(wanted, name)
        if value is not None or name == "birth_date":
            setattr(person, name, value)


def check_birth(tx: Transaction, born: date | None, place: int) -> None:
    """Refuse an impossible birth date at the field of the member in that place."""
    try:
        check_birth_date(born, tx.now.date())
    except Invalid as refusal:
        refusal.field = f"members.{place}.birth_date"
        raise


def _withdraw(tx: Transaction, household: HouseholdRow, purpose: Purpose) -> None:
    people.withdraw(tx.connection, household.id, purpose, tx.now)
    tx.emit(
        facts.ConsentWithdrawn(household_id=household.id, purpose=purpose, withdrawn_at=tx.now),
        centre=household.centre_id,
    )


def _describe_again(tx: Transaction, household: HouseholdRow, purpose: Purpose) -> None:
    """Whether messages are allowed is part of what others know of a person."""
    if purpose is not Purpose.MESSAGES:
        return
    persons: Sequence[Person] = people.of(tx.connection, household.id)
    people.put(
        tx,
        household.centre_id,
        persons,
        people.holder_of(tx.connection, household.id),
        messages=purpose in people.consents(tx.connection, household.id),
    )


def _no_member(field: str | None) -> NotFound:
    return NotFound(
        "person.unknown",
        N_("This person is not a member of the household."),
        N_("Open the household again and choose a member."),
        field=field,
    )
