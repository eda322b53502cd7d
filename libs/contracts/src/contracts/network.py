"""Facts of the network, on ``network.events``. Who a referral is about is an id, never a name."""

from __future__ import annotations

from contracts.event import Event, Id, Moment

TOPIC = "network.events"


class OrganisationRegistered(
    Event, type="network.organisation.registered", topic=TOPIC, key="organisation_id"
):
    """An organisation is part of the network."""

    organisation_id: Id
    name: str
    areas: tuple[str, ...] = ()
    registered_at: Moment


class NeedRecorded(Event, type="network.need.recorded", topic=TOPIC, key="need_id"):
    """Somebody needs something that the centre has not."""

    need_id: Id
    centre_id: Id
    household_id: str = ""
    zone: str
    area: str
    recorded_at: Moment


class _Referral(Event):
    """What every fact of a referral says."""

    referral_id: Id
    centre_id: Id
    need_id: str = ""
    household_id: str = ""
    from_organisation_id: str = ""
    """Empty: the centre itself."""
    to_organisation_id: Id
    overridden: bool = False
    """It goes on without the family's consent, for a recorded reason: they are told nothing."""
    at: Moment


class ReferralRequested(
    _Referral, type="network.referral.requested", topic=TOPIC, key="referral_id"
):
    """An organisation is asked; an answer is due by ``answer_by``."""

    area: str
    answer_by: Moment


class ReferralAccepted(_Referral, type="network.referral.accepted", topic=TOPIC, key="referral_id"):
    """The organisation takes it on."""


class ReferralRejected(_Referral, type="network.referral.rejected", topic=TOPIC, key="referral_id"):
    """The organisation does not; ``reason`` says why (not_appropriate, no_capacity, …)."""

    reason: str


class ReferralRerouted(_Referral, type="network.referral.rerouted", topic=TOPIC, key="referral_id"):
    """Asked of another organisation now; the id stays."""

    previous_organisation_id: Id
    answer_by: Moment


class ReferralOverdue(_Referral, type="network.referral.overdue", topic=TOPIC, key="referral_id"):
    """No answer within the time; somebody should ask."""


class ReferralCompleted(
    _Referral, type="network.referral.completed", topic=TOPIC, key="referral_id"
):
    """Closed with an outcome: ``met``, ``partly_met`` or ``failed``."""

    outcome: str


class ReferralCancelled(
    _Referral, type="network.referral.cancelled", topic=TOPIC, key="referral_id"
):
    """Ended by either side; ``reason``: no_longer_needed, consent_withdrawn, …"""

    reason: str


class ReferralExpired(_Referral, type="network.referral.expired", topic=TOPIC, key="referral_id"):
    """Nobody answered in time: 14 business days unless the centre says otherwise."""
