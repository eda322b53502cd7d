"""What several commands need: same content twice, what is not there, what is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from network import store
from runtime.refusals import N_, NotFound, Refusal


def digest_of(asked: BaseModel) -> str:
    """What was asked, in 64 characters: the same content again is no mistake."""
    return hashlib.sha256(asked.model_dump_json().encode()).hexdigest()


def other_content() -> Refusal:
    """The id is taken by something else."""
    return Refusal(
        "id.other_content",
        N_("There is something else with this id already."),
        N_("Make a new id, or open what is there."),
        field="id",
    )


def organisation_for(
    connection: sa.Connection, organisation_id: str, centre_id: str, *, lock: bool = False
) -> dict[str, Any]:
    """An organisation of the centre or of the whole foundation; NotFound for any other.

    ``centre_id`` "" is the foundation, which sees all.
    """
    row = store.load(connection, store.organisation, organisation_id, lock=lock)
    if row is None or (centre_id and row["centre_id"] not in ("", centre_id)):
        raise NotFound(
            "organisation.unknown",
            N_("This organisation is not in the directory."),
            N_("Look for it in the directory of organisations."),
            field="to_organisation_id",
        )
    return row


def known_household(
    connection: sa.Connection, household_id: str, centre_id: str
) -> Mapping[str, Any] | None:
    """What is known of a household; None when nothing is yet. NotFound for another centre's."""
    row = store.load(connection, store.household_seen, household_id)
    if row is not None and row["centre_id"] != centre_id:
        raise NotFound(
            "household.unknown",
            N_("This household is not known here."),
            N_("Open the household from the desk and start from there."),
            field="household_id",
        )
    return row
