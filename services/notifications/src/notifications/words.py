"""What states, channels and reasons are called on the pages."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.notifications import Channel
from notifications.domain.delivery import Answer, State, Why
from runtime.refusals import N_

STATES: Mapping[str, str] = {
    State.CREATED: N_("Waiting"),
    State.SENDING: N_("Being sent"),
    State.DELIVERED: N_("Delivered"),
    State.TEMPORARY_FAILURE: N_("Failed for now, tried again"),
    State.PERMANENT_FAILURE: N_("Failed for good"),
    State.TECHNICAL_FAILURE: N_("Given up after many tries"),
    State.UNKNOWN: N_("Nobody knows whether it arrived"),
    State.NOT_SENT: N_("Not sent"),
}

CHANNELS: Mapping[str, str] = {
    Channel.IN_APP: N_("Inbox"),
    Channel.EMAIL: N_("E-mail"),
    Channel.SMS: N_("Text message"),
    Channel.CALL: N_("Phone call"),
}

REASONS: Mapping[str, str] = {
    Why.CONTACT: N_("The person is not known here yet"),
    Why.QUIET_HOURS: N_("It leaves when the quiet hours are over"),
    Why.TOO_MANY: N_("The same message went to this address too often"),
    Why.NO_ADDRESS: N_("No e-mail address"),
    Why.NO_CONSENT: N_("No consent to receive messages"),
    Why.SWITCHED_OFF: N_("The household does not want it"),
    Why.NO_MAIL_SERVER: N_("This house has no mail server"),
    Why.OLD: N_("It happened too long ago"),
    Why.LATE: N_("It would have come too late"),
    Why.OVERTAKEN: N_("Newer news took its place"),
}

ANSWERS: Mapping[str, str] = {
    "": N_("No answer yet"),
    Answer.TAKEN: N_("The mail server took it"),
    Answer.LATER: N_("The mail server said: later"),
    Answer.NEVER: N_("The mail server refused it"),
    Answer.LOST: N_("The answer was lost"),
}
