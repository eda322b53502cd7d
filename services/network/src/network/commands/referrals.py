"""Referrals: asked, answered, ended; and what time does to them.

Locks are taken in one order everywhere: the household, then referrals by id. Who writes about a
household holds it, as do its consent being withdrawn and its being forgotten: one of two waits, and
nothing is written past them. Every household that may be written about has a row to lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from contracts import Event
from contracts.network import (
    ReferralAccepted,
    ReferralCancelled,
    ReferralCompleted,
    ReferralExpired,
    ReferralOverdue,
    ReferralRejected,
    ReferralRequested,
    ReferralRerouted,
)
from messaging import Transaction
from network import store
from network.commands.rules import deadline_rule
from network.commands.shared import digest_of, known_household, organisation_for, other_content
from network.domain import referral as rules
from network.domain.deadlines import DEFAULT_ZONE, Deadlines, deadlines
from network.domain.referral import Action, Referral, Side, State
from network.models import NewReferral, ReferralState
from network.store import Who
from runtime.refusals import N_, Invalid, NotFound, Refusal
from runtime.store import lock_rows

REMIND, OVERDUE, EXPIRE = (
    "network.referral_reminder",
    "network.referral_overdue",
    "network.referral_expiry",
)
"""Jobs. Their subject is ``referral:round``, so that what was due of an earlier round says so."""


@dataclass(frozen=True)
class Saying:
    """What goes with an act. ``note`` and ``override_reason`` are free text."""

    note: str = ""
    reason: str = ""
    outcome: str = ""
    to_organisation_id: str = ""
    service_id: str = ""
    override_reason: str = ""


def record_referral(
    tx: Transaction, who: Who, asked: NewReferral, *, centre_id: str
) -> ReferralState:
    """Ask an organisation to help (or keep a draft).

    The same id with the same content is the same referral. Emits ReferralRequested unless it is a
    draft. Raises NotFound for an unknown organisation or need, Refusal without consent and for a
    household that is not known or was erased: what was written about it would stay for ever.
    """
    digest = digest_of(asked.model_copy(update={"id": None}))
    if asked.id and (there := store.load(tx.connection, store.referral, asked.id)) is not None:
        return _same(there, digest, centre_id)
    about = _about(tx, asked, centre_id)
    organisation_for(tx.connection, asked.to_organisation_id, centre_id)
    _check_service(tx, asked.service_id, asked.to_organisation_id)
    overridden = False
    if about["household_id"]:
        lock_rows(tx.connection, store.household_seen, [about["household_id"]])
        _known_still(tx, about["household_id"], centre_id)
        if not asked.draft:
            overridden = _consent_or_override(tx, about["household_id"], asked.override_reason)
    first = Referral(State.DRAFT, asked.to_organisation_id)
    row = {
        "id": asked.id or tx.ids.new(),
        "centre_id": centre_id,
        "digest": digest,
        **about,
        "from_organisation_id": "",
        "service_id": asked.service_id,
        "overridden": overridden,
        **store.state_columns(first),
        "recorded_at": tx.now,
        "recorded_by": who.account_id,
        "requested_at": None,
        "answer_by": None,
        "expires_at": None,
        "reminded": False,
        "overdue": False,
        "changed_at": tx.now,
    }
    if not store.inserted(tx.connection, store.referral, row):
        there = store.load(tx.connection, store.referral, row["id"])
        return _same(there or row, digest, centre_id)
    if asked.draft:
        store.add_step(
            tx,
            row["id"],
            first,
            Action.DRAFT,
            Side.SENDER,
            note=asked.note,
            override=asked.override_reason,
        )
        return _state(row)
    return _done(
        tx,
        who,
        row,
        Action.REQUEST,
        Side.SENDER,
        Saying(note=asked.note, override_reason=asked.override_reason if overridden else ""),
    )


def act_on(
    tx: Transaction, who: Who, referral_id: str, action: Action, saying: Saying
) -> ReferralState:
    """Accept, reject, start, hold, complete, cancel, ask (of a draft) or ask somebody else.

    Raises NotFound for who is no party, and what ``domain.referral.act`` raises.
    """
    row = _party(tx, who, referral_id)
    asks = action in (Action.REQUEST, Action.REROUTE) and bool(row["household_id"])
    if asks:
        lock_rows(tx.connection, store.household_seen, [row["household_id"]])
    lock_rows(tx.connection, store.referral, [referral_id])
    row = _party(tx, who, referral_id)
    side = _side(row, who, action)
    rules.act(
        store.as_domain(row),
        action,
        side,
        reason=saying.reason,
        outcome=saying.outcome,
        to_organisation_id=saying.to_organisation_id,
    )
    if action is Action.REROUTE:
        organisation_for(tx.connection, saying.to_organisation_id, row["centre_id"])
        _check_service(tx, saying.service_id, saying.to_organisation_id)
    if asks:
        _known_still(tx, row["household_id"], row["centre_id"])
        overridden = not row["overridden"] and _consent_or_override(
            tx, row["household_id"], saying.override_reason
        )
        row["overridden"] = row["overridden"] or overridden
        if not overridden:
            saying = replace(saying, override_reason="")
    return _done(tx, who, row, action, side, saying)


def cancel_of_household(
    tx: Transaction,
    household_id: str,
    reason: str,
    *,
    unless: Callable[[Mapping[str, Any]], bool] = lambda _row: False,
) -> int:
    """Cancel what is unfinished of a household, whoever has it; gives how many.

    ``unless`` says of a row that it stays (a newer consent or a later override covers it).
    """
    referral = store.referral
    lock_rows(tx.connection, store.household_seen, [household_id])
    wanted = (referral.c.household_id == household_id) & ~referral.c.closed
    ids = list(tx.connection.scalars(sa.select(referral.c.id).where(wanted)))
    lock_rows(tx.connection, referral, ids)
    cancelled = 0
    for referral_id in sorted(ids):
        row = store.load(tx.connection, referral, referral_id)
        if row is None or row["closed"] or unless(row):
            continue
        nobody = Who("system", row["centre_id"])
        _done(tx, nobody, row, Action.CANCEL, Side.SYSTEM, Saying(reason=reason))
        cancelled += 1
    return cancelled


def remind(tx: Transaction, referral_id: str, round_: int) -> None:
    """The answer is due today: the receiver's page says so first."""
    row = _waiting(tx, referral_id, round_)
    if row is not None and not row["reminded"]:
        store.change(tx.connection, store.referral, referral_id, {"reminded": True})


def mark_overdue(tx: Transaction, referral_id: str, round_: int) -> None:
    """The days of grace are over too: the sender should ask. Emits ReferralOverdue."""
    row = _waiting(tx, referral_id, round_)
    if row is not None and not row["overdue"]:
        store.change(tx.connection, store.referral, referral_id, {"overdue": True})
        tx.emit(ReferralOverdue(**_facts(tx, row)), centre=row["centre_id"])


def expire(tx: Transaction, referral_id: str, round_: int) -> None:
    """Nobody is expected to answer any more. Emits ReferralExpired."""
    row = _waiting(tx, referral_id, round_)
    if row is not None:
        who = Who("system", row["centre_id"])
        _done(tx, who, row, Action.EXPIRE, Side.SYSTEM, Saying())


def subject(referral_id: str, round_: int) -> str:
    """The subject of a referral's jobs."""
    return f"{referral_id}:{round_}"


def schedule_due(tx: Transaction, row: Mapping[str, Any], due: Deadlines) -> None:
    """The three rows of a referral that waits for an answer."""
    for name, at in (
        (REMIND, due.remind_at),
        (OVERDUE, due.overdue_at),
        (EXPIRE, due.expires_at),
    ):
        tx.schedule(name, subject(row["id"], row["round"]), at)


def deadlines_of(tx: Transaction, centre_id: str) -> Deadlines:
    """The deadlines of what is asked now, by the centre's rule, time zone and holidays."""
    centre = store.load(tx.connection, store.centre_seen, centre_id)
    return deadlines(
        tx.now,
        deadline_rule(tx.connection, centre_id, tx.now),
        zone=centre["time_zone"] if centre else DEFAULT_ZONE,
        region=centre["region"] if centre else "IT",
    )


# -- inside ------------------------------------------------------------------------------------


def _done(
    tx: Transaction, who: Who, row: dict[str, Any], action: Action, side: Side, saying: Saying
) -> ReferralState:
    """Apply an act to a referral whose lock is held: state, step, deadlines, jobs, event.

    Of a draft that is cancelled nobody ever heard, so nobody is told.
    """
    after = rules.act(
        store.as_domain(row),
        action,
        side,
        reason=saying.reason,
        outcome=saying.outcome,
        to_organisation_id=saying.to_organisation_id,
    )
    before = row["to_organisation_id"]
    never_asked = row["state"] == State.DRAFT and action is Action.CANCEL
    columns = {
        **store.state_columns(after),
        "overridden": row["overridden"],
        "reminded": False,
        "overdue": False,
        "changed_at": tx.now,
    }
    if after.state is State.REQUESTED:
        due = deadlines_of(tx, row["centre_id"])
        columns |= {
            "requested_at": tx.now,
            "answer_by": due.answer_by,
            "expires_at": due.expires_at,
        }
        schedule_due(tx, {**row, **columns}, due)
        if action is Action.REROUTE:
            columns["service_id"] = saying.service_id
    store.change(tx.connection, store.referral, row["id"], columns)
    store.add_step(
        tx,
        row["id"],
        after,
        action,
        side,
        note=saying.note,
        override=saying.override_reason,
    )
    if saying.override_reason:
        store.write_audit(tx.connection, row, who, "override", now=tx.now, ids=tx.ids)
    row = {**row, **columns}
    event = _event(tx, row, action, before)
    if event is not None and not never_asked:
        tx.emit(event, centre=row["centre_id"])
    return _state(row)


def _event(tx: Transaction, row: Mapping[str, Any], action: Action, before: str) -> Event | None:
    """The fact to tell. Starting and holding are not told: nobody else asks for them."""
    facts = _facts(tx, row)
    if action is Action.REQUEST:
        return ReferralRequested(**facts, area=row["area"], answer_by=row["answer_by"])
    if action is Action.REROUTE:
        return ReferralRerouted(
            **facts, previous_organisation_id=before, answer_by=row["answer_by"]
        )
    if action is Action.ACCEPT:
        return ReferralAccepted(**facts)
    if action is Action.REJECT:
        return ReferralRejected(**facts, reason=row["reason"])
    if action is Action.COMPLETE:
        return ReferralCompleted(**facts, outcome=row["outcome"])
    if action is Action.CANCEL:
        return ReferralCancelled(**facts, reason=row["reason"])
    if action is Action.EXPIRE:
        return ReferralExpired(**facts)
    return None


def _facts(tx: Transaction, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "referral_id": row["id"],
        "centre_id": row["centre_id"],
        "need_id": row["need_id"],
        "household_id": row["household_id"],
        "from_organisation_id": row["from_organisation_id"],
        "to_organisation_id": row["to_organisation_id"],
        "overridden": row["overridden"],
        "at": tx.now,
    }


def _state(row: Mapping[str, Any]) -> ReferralState:
    return ReferralState(
        id=row["id"],
        state=row["state"],
        to_organisation_id=row["to_organisation_id"],
        reason=row["reason"],
        outcome=row["outcome"],
        answer_by=row["answer_by"],
    )


def _same(there: Mapping[str, Any], digest: str, centre_id: str) -> ReferralState:
    if there["digest"] != digest or there["centre_id"] != centre_id:
        raise other_content()
    return _state(there)


def _about(tx: Transaction, asked: NewReferral, centre_id: str) -> dict[str, Any]:
    """Need, household, zone and area, each from the nearest that says it."""
    need: Mapping[str, Any] | None = None
    if asked.need_id:
        need = store.load(tx.connection, store.need, asked.need_id)
        if need is None or need["centre_id"] != centre_id:
            raise NotFound(
                "need.unknown",
                N_("This need is not known here."),
                N_("Record the need first."),
                field="need_id",
            )
    said: dict[str, Any] = {"need_id": asked.need_id}
    for name in ("household_id", "zone", "area"):
        own, of_need = getattr(asked, name), need[name] if need else ""
        if own and of_need and own != of_need:
            raise Invalid(
                "referral.other_than_need",
                N_("The need says something else."),
                N_("Leave this empty, or record another need."),
                field=name,
            )
        said[name] = own or of_need
    if said["household_id"] and not said["zone"]:
        household = known_household(tx.connection, said["household_id"], centre_id)
        said["zone"] = household["zone"] if household else ""
    if not said["area"]:
        raise Invalid(
            "referral.area_missing",
            N_("Say which area of life it is about."),
            N_("Choose an area, or a need that was recorded."),
            field="area",
        )
    if not said["zone"] and not said["household_id"]:
        raise Invalid(
            "referral.zone_missing",
            N_("Say in which part of the quarter."),
            N_("Choose a zone, never an address."),
            field="zone",
        )
    return said


def _known_still(tx: Transaction, household_id: str, centre_id: str) -> None:
    """Refuses a household, whose row is locked, that is not known or was erased."""
    household = known_household(tx.connection, household_id, centre_id)
    if household is None or household["erased"]:
        raise Refusal(
            "household.unknown",
            N_("This household is not known here."),
            N_("If it was registered a moment ago, try again in a minute."),
            field="household_id",
        )


def _consent_or_override(tx: Transaction, household_id: str, override_reason: str) -> bool:
    """False when the household agreed, True when somebody answers for doing it without."""
    consent = store.load(tx.connection, store.consent_seen, household_id)
    if consent is not None and consent["given"]:
        return False
    if override_reason.strip():
        return True
    raise Refusal(
        "consent.missing",
        N_("The family has not agreed to be referred, or does not any more."),
        N_("Ask the family and record its consent on its page, or write why it must be done."),
        field="override_reason",
    )


def _check_service(tx: Transaction, service_id: str, organisation_id: str) -> None:
    if not service_id:
        return
    service = store.load(tx.connection, store.service, service_id)
    if service is None or service["organisation_id"] != organisation_id:
        raise Invalid(
            "service.of_another",
            N_("This service is not one of the organisation's."),
            N_("Choose one of its services, or none."),
            field="service_id",
        )


def _party(tx: Transaction, who: Who, referral_id: str) -> dict[str, Any]:
    row = store.load(tx.connection, store.referral, referral_id)
    if row is None or not who.sides(row):
        raise unknown_referral()
    return row


def unknown_referral() -> NotFound:
    """There is none, or none that the reader is party to: nobody can tell which."""
    return NotFound(
        "referral.unknown",
        N_("This referral is not among yours."),
        N_("Open the list of your referrals and look for it there."),
    )


def _side(row: Mapping[str, Any], who: Who, action: Action) -> Side:
    sides = who.sides(row)
    state = State(row["state"])
    fitting = [side for side in sides if action in rules.allowed(state, side)]
    return (*fitting, *sides)[0]


def _waiting(tx: Transaction, referral_id: str, round_: int) -> dict[str, Any] | None:
    """The referral if it still waits for the answer of this round."""
    row = store.load(tx.connection, store.referral, referral_id, lock=True)
    if row is None or row["state"] != State.REQUESTED or row["round"] != round_:
        return None
    return row
