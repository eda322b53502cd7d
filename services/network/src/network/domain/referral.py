"""A referral as a pure state machine: which act leads where, and whose it is.

Sources: HL7 SDOH, Primero and ReferNet as told in the rules of the field. What holds:

- It never closes without an outcome: completed and failed carry an outcome; rejected, cancelled and
  expired carry a reason.
- The sender (the centre) requests, cancels and asks somebody else; the receiver accepts, rejects,
  starts, holds and completes; either may cancel what was taken on; time expires what nobody
  answered; a consent that is withdrawn cancels whatever is unfinished.
- Asking somebody else keeps the id and begins a new *round*; the organisation of an earlier round
  is no longer party.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from network.domain.words import CANCEL_REASONS, REJECT_REASONS, Outcome, Reason
from runtime.refusals import N_, Invalid, NotAllowed, Refusal


class State(StrEnum):
    """Where a referral stands."""

    DRAFT = "draft"
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    ON_HOLD = "on_hold"
    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


STATES: dict[str, str] = {
    State.DRAFT: N_("Draft"),
    State.REQUESTED: N_("Waiting for an answer"),
    State.ACCEPTED: N_("Accepted"),
    State.IN_PROGRESS: N_("In progress"),
    State.ON_HOLD: N_("On hold"),
    State.COMPLETED: N_("Completed"),
    State.FAILED: N_("Failed"),
    State.REJECTED: N_("Rejected"),
    State.CANCELLED: N_("Cancelled"),
    State.EXPIRED: N_("Expired"),
}


class Action(StrEnum):
    """What can be done to a referral."""

    DRAFT = "draft"
    REQUEST = "request"
    ACCEPT = "accept"
    REJECT = "reject"
    REROUTE = "reroute"
    START = "start"
    HOLD = "hold"
    COMPLETE = "complete"
    CANCEL = "cancel"
    EXPIRE = "expire"


ACTIONS: dict[str, str] = {
    Action.DRAFT: N_("Written down"),
    Action.REQUEST: N_("Asked"),
    Action.ACCEPT: N_("Accepted"),
    Action.REJECT: N_("Rejected"),
    Action.REROUTE: N_("Asked somebody else"),
    Action.START: N_("Begun"),
    Action.HOLD: N_("Put on hold"),
    Action.COMPLETE: N_("Closed with an outcome"),
    Action.CANCEL: N_("Cancelled"),
    Action.EXPIRE: N_("Expired"),
}


class Side(StrEnum):
    """Who acts."""

    SENDER = "sender"
    RECEIVER = "receiver"
    SYSTEM = "system"


TAKEN_ON = frozenset({State.ACCEPTED, State.IN_PROGRESS, State.ON_HOLD})
"""The receiver works on it."""

UNFINISHED = frozenset({State.DRAFT, State.REQUESTED}) | TAKEN_ON
"""Nobody has ended it yet; a withdrawn consent does."""

CLOSED = frozenset(State) - UNFINISHED

_MOVES: dict[tuple[Action, Side], tuple[frozenset[State], State]] = {
    (Action.REQUEST, Side.SENDER): (frozenset({State.DRAFT}), State.REQUESTED),
    (Action.REROUTE, Side.SENDER): (
        frozenset({State.REQUESTED, State.REJECTED, State.EXPIRED}),
        State.REQUESTED,
    ),
    (Action.CANCEL, Side.SENDER): (UNFINISHED, State.CANCELLED),
    (Action.ACCEPT, Side.RECEIVER): (frozenset({State.REQUESTED}), State.ACCEPTED),
    (Action.REJECT, Side.RECEIVER): (frozenset({State.REQUESTED}), State.REJECTED),
    (Action.START, Side.RECEIVER): (
        frozenset({State.ACCEPTED, State.ON_HOLD}),
        State.IN_PROGRESS,
    ),
    (Action.HOLD, Side.RECEIVER): (
        frozenset({State.ACCEPTED, State.IN_PROGRESS}),
        State.ON_HOLD,
    ),
    (Action.COMPLETE, Side.RECEIVER): (TAKEN_ON, State.COMPLETED),
    (Action.CANCEL, Side.RECEIVER): (TAKEN_ON, State.CANCELLED),
    (Action.CANCEL, Side.SYSTEM): (UNFINISHED, State.CANCELLED),
    (Action.EXPIRE, Side.SYSTEM): (frozenset({State.REQUESTED}), State.EXPIRED),
}

_NOT_NOW: dict[State, str] = {
    State.DRAFT: N_("This referral is still a draft: nobody was asked yet."),
    State.REQUESTED: N_("This referral still waits for an answer."),
    State.ACCEPTED: N_("This referral was already accepted."),
    State.IN_PROGRESS: N_("This referral is already in progress."),
    State.ON_HOLD: N_("This referral is on hold."),
    State.COMPLETED: N_("This referral is already completed."),
    State.FAILED: N_("This referral was already closed as failed."),
    State.REJECTED: N_("This referral was already rejected."),
    State.CANCELLED: N_("This referral was already cancelled."),
    State.EXPIRED: N_("The time to answer this referral is over."),
}


@dataclass(frozen=True)
class Referral:
    """What the rules need of a referral. ``round`` counts the organisations asked, from 1."""

    state: State
    to_organisation_id: str
    round: int = 1
    outcome: str = ""
    reason: str = ""

    @property
    def closed(self) -> bool:
        return self.state in CLOSED


def allowed(state: State, side: Side) -> tuple[Action, ...]:
    """What this side may do now, in the order of `Action`."""
    return tuple(
        action
        for action in Action
        if (move := _MOVES.get((action, side))) is not None and state in move[0]
    )


def act(
    referral: Referral,
    action: Action,
    side: Side,
    *,
    reason: str = "",
    outcome: str = "",
    to_organisation_id: str = "",
) -> Referral:
    """The referral after the act.

    Raises NotAllowed when the act is never this side's, Refusal when it is not possible in the
    present state, Invalid when the reason, outcome or organisation that it needs is missing or none
    of the known ones.
    """
    move = _MOVES.get((action, side))
    if move is None:
        raise NotAllowed(
            "referral.other_side",
            N_("This can only be done by the other side of the referral."),
            N_("Ask them, or write to the coordinator."),
        )
    states, then = move
    if referral.state not in states:
        raise Refusal(
            "referral.not_possible_now",
            _NOT_NOW[referral.state],
            N_("Open the referral again to see what can be done now."),
        )
    if action is Action.REJECT:
        return replace(referral, state=then, reason=_reason(reason, REJECT_REASONS))
    if action is Action.CANCEL:
        return replace(referral, state=then, reason=_reason(reason, CANCEL_REASONS))
    if action is Action.EXPIRE:
        return replace(referral, state=then, reason=Reason.NO_ANSWER)
    if action is Action.COMPLETE:
        result = _outcome(outcome)
        closed = State.FAILED if result is Outcome.FAILED else then
        return replace(referral, state=closed, outcome=result)
    if action is Action.REROUTE:
        if not to_organisation_id or to_organisation_id == referral.to_organisation_id:
            raise Invalid(
                "referral.same_organisation",
                N_("This organisation is the one that was asked already."),
                N_("Choose another organisation."),
                field="to_organisation_id",
            )
        return Referral(then, to_organisation_id, referral.round + 1)
    return replace(referral, state=then)


def reads_text(state: State, side: Side) -> bool:
    """Whether this side may read what was written: a receiver that ended with no (or was told that
    it is over) needs it no longer."""
    return side is Side.SENDER or state in TAKEN_ON | {
        State.REQUESTED,
        State.COMPLETED,
        State.FAILED,
    }


def knows_who(state: State) -> bool:
    """Whether the receiver may see who it is about: from the request until it is closed."""
    return state in TAKEN_ON or state is State.REQUESTED


def _reason(given: str, known: tuple[Reason, ...]) -> Reason:
    if given not in known:
        raise Invalid(
            "referral.reason_missing",
            N_("Say why: a referral does not end without a reason."),
            N_("Choose one of the reasons."),
            field="reason",
        )
    return Reason(given)


def _outcome(given: str) -> Outcome:
    if given not in tuple(Outcome):
        raise Invalid(
            "referral.outcome_missing",
            N_("Say how it went: a referral does not close without an outcome."),
            N_("Choose one of the outcomes."),
            field="outcome",
        )
    return Outcome(given)
