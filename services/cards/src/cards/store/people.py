"""People and consents: read, written, found, described to the others, forgotten.

Personal data lives in ``person`` and ``search_word`` and travels on ``cards.people`` alone. Whoever
is erased leaves a row with an id and no name; the events that described the person are emptied in
the outbox too, so that sending it again tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from cards import store
from cards.domain.household import search_words
from contracts import people as facts
from contracts.cards import Purpose, Stage
from messaging import Transaction
from messaging.envelope import body_of
from messaging.tables import outbox
from runtime.store import upsert


@dataclass
class Person:
    """A member of a household. ``revision`` grows with everything that others are told."""

    id: str
    household_id: str
    position: int
    given_name: str
    family_name: str
    birth_date: date | None
    language: str
    email: str
    phone: str
    stage: str
    stage_at: datetime
    revision: int


def of(connection: sa.Connection, household_id: str) -> list[Person]:
    """The members of a household in their order."""
    table = store.person
    rows = connection.execute(
        sa.select(table)
        .where(table.c.household_id == household_id, table.c.erased_at.is_(None))
        .order_by(table.c.position, table.c.id)
    ).mappings()
    return [Person(**{k: v for k, v in row.items() if k != "erased_at"}) for row in rows]


def put(
    tx: Transaction, centre_id: str, persons: Sequence[Person], holder_id: str, *, messages: bool
) -> None:
    """Write these people, the words to find them by, and tell the others what is new of them."""
    if not persons:
        return
    for person in persons:
        person.revision += 1
    write(tx.connection, centre_id, persons)
    for person in persons:
        tx.emit(
            facts.PersonDescribed(
                person_id=person.id,
                household_id=person.household_id,
                centre_id=centre_id,
                revision=person.revision,
                given_name=person.given_name,
                family_name=person.family_name,
                birth_date=person.birth_date,
                holder=person.id == holder_id,
                language=person.language,
                email=person.email,
                phone=person.phone,
                messages_allowed=messages,
                described_at=tx.now,
            ),
            centre=centre_id,
        )


def write(connection: sa.Connection, centre_id: str, persons: Sequence[Person]) -> None:
    """The rows of these people and the words to find them by."""
    upsert(
        connection,
        store.person,
        [asdict(person) | {"erased_at": None} for person in persons],
        key=("id",),
    )
    index(connection, centre_id, persons)


def index(connection: sa.Connection, centre_id: str, persons: Sequence[Person]) -> None:
    """The words by which these people are found are now these."""
    words = store.search_word
    connection.execute(
        sa.delete(words).where(
            words.c.household_id.in_({person.household_id for person in persons}),
            words.c.source_id.in_([person.id for person in persons]),
        )
    )
    rows = [
        {
            "centre_id": centre_id,
            "word": word,
            "household_id": person.household_id,
            "source_id": person.id,
        }
        for person in persons
        for word in sorted(search_words(person.given_name, person.family_name, phone=person.phone))
    ]
    if rows:
        connection.execute(sa.insert(words), rows)


FORGET_JOB = "cards.person_forgotten"
ROLLS_AFTER = timedelta(minutes=70)
"""Kafka cleans no segment that it still writes, and ends one only when something is written an hour
after its first record (``segment.ms`` of ``cards.people``)."""


def erase(tx: Transaction, centre_id: str, person_ids: Sequence[str]) -> None:
    """Forget these people and tell the others to.

    It is told once more after ``ROLLS_AFTER``: on a quiet partition nothing else would end the
    segment in which the names lie, and they would stay there.
    """
    if not person_ids:
        return
    forget(tx.connection, person_ids, tx.now)
    for person_id in person_ids:
        tx.emit(facts.PersonErased(person_id=person_id), centre=centre_id)
        tx.schedule(FORGET_JOB, person_id, tx.now + ROLLS_AFTER, data={"centre_id": centre_id})


def forget(connection: sa.Connection, person_ids: Sequence[str], now: datetime) -> None:
    """Empty everything that this store holds of these people; their ids stay."""
    connection.execute(
        sa.update(store.person)
        .where(store.person.c.id.in_(person_ids))
        .values(
            given_name="",
            family_name="",
            birth_date=None,
            language="",
            email="",
            phone="",
            erased_at=sa.func.coalesce(store.person.c.erased_at, now),
        )
    )
    connection.execute(
        sa.delete(store.search_word).where(store.search_word.c.source_id.in_(person_ids))
    )
    empty_outbox(connection, person_ids)


def empty_outbox(connection: sa.Connection, person_ids: Iterable[str]) -> None:
    """What was told of these people keeps its place and its id, without what it said."""
    described = facts.PersonDescribed
    rows = connection.execute(
        sa.select(outbox.c.row, outbox.c.body).where(
            outbox.c.topic == described.TOPIC,
            outbox.c.key.in_(list(person_ids)),
            outbox.c.type == described.ce_type(),
        )
    ).all()
    emptied = []
    for row, body in rows:
        told = described.model_validate_json(body)
        emptied.append(
            {
                "at_row": row,
                "emptied": body_of(
                    described(
                        person_id=told.person_id,
                        household_id=told.household_id,
                        centre_id=told.centre_id,
                        revision=told.revision,
                        given_name="",
                        family_name="",
                        described_at=told.described_at,
                    )
                ),
            }
        )
    if emptied:
        connection.execute(
            sa.update(outbox)
            .where(outbox.c.row == sa.bindparam("at_row"))
            .values(body=sa.bindparam("emptied")),
            emptied,
        )


def set_stage(connection: sa.Connection, person_id: str, stage: Stage, now: datetime) -> None:
    """The path of a person."""
    connection.execute(
        sa.update(store.person)
        .where(store.person.c.id == person_id)
        .values(stage=stage, stage_at=now)
    )


def holder_of(connection: sa.Connection, household_id: str) -> str:
    """The id of the holder."""
    return str(
        connection.execute(
            sa.select(store.household.c.holder_id).where(store.household.c.id == household_id)
        ).scalar_one()
    )


def zone_of(connection: sa.Connection, household_id: str) -> str:
    """The zone of a household."""
    return str(
        connection.execute(
            sa.select(store.household.c.zone).where(store.household.c.id == household_id)
        ).scalar_one()
    )


def consents(connection: sa.Connection, household_id: str) -> list[Purpose]:
    """The purposes that the holder agrees to now."""
    table = store.consent
    return [
        Purpose(purpose)
        for purpose in connection.scalars(
            sa.select(table.c.purpose)
            .where(table.c.household_id == household_id, table.c.withdrawn_at.is_(None))
            .order_by(table.c.purpose)
        )
    ]


def give(connection: sa.Connection, household_id: str, purpose: Purpose, now: datetime) -> None:
    """Write a consent down."""
    upsert(
        connection,
        store.consent,
        [
            {
                "household_id": household_id,
                "purpose": purpose,
                "given_at": now,
                "withdrawn_at": None,
            }
        ],
        key=("household_id", "purpose"),
    )


def withdraw(connection: sa.Connection, household_id: str, purpose: Purpose, now: datetime) -> None:
    """Write the end of a consent down."""
    connection.execute(
        sa.update(store.consent)
        .where(store.consent.c.household_id == household_id, store.consent.c.purpose == purpose)
        .values(withdrawn_at=now)
    )
