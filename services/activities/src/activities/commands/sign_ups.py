"""Signing up, answering an offer, and "I can't come"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from activities import store
from activities.commands.sessions import By, Opened, opened, opened_for_sign_ups, require_open
from activities.domain.sessions import age_on, local_day
from activities.domain.waiting_list import State, positions
from activities.store import Person, SignUp
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotAllowed, NotFound, Refusal

MOST_AT_ONCE = 20
HIGHEST_PRIORITY = 9


@dataclass(frozen=True)
class SignUpMade:
    """Where a sign-up stands after a command. ``position`` counts people, from 1."""

    id: str
    session_id: str
    person_id: str
    state: str
    position: int | None = None
    answer_by: datetime | None = None


def sign_up(
    tx: Transaction,
    by: By,
    session_id: str,
    person_ids: Sequence[str],
    *,
    together: bool = False,
    priority: int = 0,
) -> list[SignUpMade]:
    """Sign people up: each gets a place or waits; ``together`` all of them or none.

    Nothing is written when one of them is refused. Raises Invalid (person.unknown,
    signup.not_one_household, signup.group_too_large, person.too_young, person.too_old),
    NotAllowed (signup.priority), Refusal (signup.already, session.cancelled, session.begun).
    """
    if priority and not by.staff:
        raise NotAllowed(
            "signup.priority",
            N_("Only the staff can give priority."),
            N_("Sign up without it, or speak to the staff."),
            field="priority",
        )
    if not person_ids:
        raise Invalid(
            "signup.nobody",
            N_("Choose at least one person."),
            field="person_ids",
        )
    wanted = list(dict.fromkeys(person_ids))
    work = opened_for_sign_ups(tx, by, session_id)
    persons = _known(tx, by, work, wanted)
    if together:
        _one_household(work, persons)
    zone = store.time_zone(tx.connection, work.session.centre_id)
    for person in persons:
        _of_age(work, person, zone)
    _not_yet(work, persons)
    ids = [tx.ids.new() for _ in persons]
    group_id = ids[0] if together and len(persons) > 1 else ""
    work.add(
        SignUp(
            id=sign_up_id,
            session_id=session_id,
            person_id=person.person_id,
            household_id=person.household_id,
            state=State.WAITING,
            priority=priority,
            group_id=group_id,
            entered_at=work.stamp,
        )
        for sign_up_id, person in zip(ids, persons, strict=True)
    )
    work.save()
    return made(work, work.added)


def accept(tx: Transaction, by: By, sign_up_id: str) -> SignUpMade:
    """Take an offered place; siblings who come together take theirs with it. Again: the same.

    Raises NotFound, Refusal (offer.expired, offer.none, session.cancelled, session.begun).
    """
    work, one = _found(tx, by, sign_up_id)
    if one.state is State.CONFIRMED:
        return made(work, [one])[0]
    _require_offer(work, one)
    for sibling in work.group_of(one, State.OFFERED):
        work.confirm(sibling)
        work.tell_confirmed(sibling)
    work.save()
    return made(work, [one])[0]


def decline(tx: Transaction, by: By, sign_up_id: str) -> SignUpMade:
    """Refuse an offered place; siblings who come together refuse with it. Again: the same.

    The places go to the next, never again to these. Raises as `accept`.
    """
    work, one = _found(tx, by, sign_up_id)
    if one.state is State.CANCELLED and one.reason == "offer_declined":
        return made(work, [one])[0]
    _require_offer(work, one)
    for sibling in work.group_of(one, State.OFFERED):
        work.end(sibling, State.CANCELLED, "offer_declined")
    work.settle()
    work.save()
    return made(work, [one])[0]


def cancel(tx: Transaction, by: By, sign_up_id: str) -> SignUpMade:
    """ "I can't come": this person's sign-up ends, siblings keep theirs. Again: the same.

    Raises NotFound, Refusal (signup.ended, session.begun).
    """
    work, one = _found(tx, by, sign_up_id)
    if one.state is State.CANCELLED:
        return made(work, [one])[0]
    require_open(work)
    if not one.live:
        raise Refusal(
            "signup.ended",
            N_("This sign-up has already ended."),
            N_("Look at the session again."),
        )
    work.end(one, State.CANCELLED, "by_staff" if by.staff else "by_family")
    work.settle()
    work.save()
    return made(work, [one])[0]


def made(work: Opened, sign_ups: Sequence[SignUp]) -> list[SignUpMade]:
    place = positions(work.session.entries)
    return [
        SignUpMade(
            one.id,
            one.session_id,
            one.person_id,
            str(one.state),
            place.get(one.id),
            one.answer_by if one.state is State.OFFERED else None,
        )
        for one in sign_ups
    ]


def _found(tx: Transaction, by: By, sign_up_id: str) -> tuple[Opened, SignUp]:
    """The sign-up and its locked session; a family finds only its own people's."""
    unknown = NotFound(
        "signup.unknown",
        N_("There is no such sign-up."),
        N_("Open the session again and look."),
    )
    seen = sa.select(store.sign_up).where(store.sign_up.c.id == sign_up_id)
    row = tx.connection.execute(seen).one_or_none()
    if row is None:
        raise unknown
    if not by.staff:
        person = store.people(tx.connection, [row.person_id]).get(row.person_id)
        if person is None or person.household_id != by.household_id:
            raise unknown
    try:
        work = opened(tx, by, row.session_id)
    except NotFound as error:
        raise unknown from error
    for one in work.session.live:
        if one.id == sign_up_id:
            return work, one
    ended = tx.connection.execute(seen).one()
    return work, store.sign_up_of(ended)


def _require_offer(work: Opened, one: SignUp) -> None:
    if one.state is State.EXPIRED:
        raise Refusal(
            "offer.expired",
            N_("The time to answer this offer is over, and the place went to the next."),
            N_("You can sign up again: you will be at the end of the list."),
        )
    require_open(work)
    if one.state is not State.OFFERED:
        raise Refusal(
            "offer.none",
            N_("No place is offered by this sign-up now."),
            N_("Look at the session again."),
        )


def _known(tx: Transaction, by: By, work: Opened, person_ids: Sequence[str]) -> list[Person]:
    if len(person_ids) > MOST_AT_ONCE:
        raise Invalid(
            "signup.too_many",
            N_("At most {most} people can be signed up at once."),
            field="person_ids",
            most=MOST_AT_ONCE,
        )
    known = store.people(tx.connection, person_ids)
    persons = []
    for person_id in person_ids:
        person = known.get(person_id)
        if (
            person is None
            or person.centre_id != work.session.centre_id
            or (not by.staff and person.household_id != by.household_id)
        ):
            raise unknown_person(person_id)
        persons.append(person)
    return persons


def unknown_person(person_id: str, field: str = "person_ids") -> Invalid:
    """Nobody of that id is known here (yet), or the caller may not act for them."""
    return Invalid(
        "person.unknown",
        N_("This person is not known here."),
        N_("If it was registered a moment ago, try again in a few seconds; else ask the desk."),
        field=field,
        person_id=person_id,
    )


def _one_household(work: Opened, persons: Sequence[Person]) -> None:
    if len({person.household_id for person in persons}) > 1:
        raise Invalid(
            "signup.not_one_household",
            N_("Only people of one household can be signed up together."),
            N_("Sign them up one household at a time."),
            field="together",
        )
    if len(persons) > work.session.capacity:
        raise Invalid(
            "signup.group_too_large",
            N_("The session has {capacity} places: so many people can never come together."),
            N_("Sign them up one by one."),
            field="together",
            capacity=work.session.capacity,
        )


def _of_age(work: Opened, person: Person, zone: ZoneInfo) -> None:
    """Who has no birth date known is let in: registration may be minimal (DOMAIN)."""
    if person.birth_date is None:
        return
    session = work.session
    age = age_on(person.birth_date, local_day(session.starts_at, zone))
    if session.min_age is not None and age < session.min_age:
        raise Invalid(
            "person.too_young",
            N_("This activity is for people of {min_age} years or more."),
            N_("Choose an activity for this age."),
            field="person_ids",
            min_age=session.min_age,
            person_id=person.person_id,
        )
    if session.max_age is not None and age > session.max_age:
        raise Invalid(
            "person.too_old",
            N_("This activity is for people of {max_age} years or less."),
            N_("Choose an activity for this age."),
            field="person_ids",
            max_age=session.max_age,
            person_id=person.person_id,
        )


def _not_yet(work: Opened, persons: Sequence[Person]) -> None:
    signed_up = {one.person_id for one in work.session.live if one.live}
    for person in persons:
        if person.person_id in signed_up:
            raise Refusal(
                "signup.already",
                N_("This person is already signed up for this session."),
                N_("Choose only people who are not signed up yet."),
                field="person_ids",
                person_id=person.person_id,
            )
