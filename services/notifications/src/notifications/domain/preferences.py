"""What a household wants to get, on three levels: everything, a kind of message, a channel.

Whatever is switched off on one level is off. Messages that are always sent do not ask, and the
inbox of the house gets everything.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from contracts.notifications import Channel
from notifications.domain.delivery import Why
from notifications.domain.kinds import OPTIONAL, Kind, rule_of
from runtime.refusals import N_

SWITCHABLE = (Channel.EMAIL, Channel.SMS)
"""Channels that a household may switch off."""


def _optional(kinds: dict[Kind, bool]) -> dict[Kind, bool]:
    if not set(kinds) <= set(OPTIONAL):
        raise PydanticCustomError(
            "preferences.always", N_("Messages of this kind are always sent.")
        )
    return kinds


def _switchable(channels: dict[Channel, bool]) -> dict[Channel, bool]:
    if not set(channels) <= set(SWITCHABLE):
        raise PydanticCustomError("preferences.channel", N_("This channel cannot be switched off."))
    return channels


class Preferences(BaseModel):
    """What is not named is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    everything: bool = Field(True, description="false: only messages that are always sent")
    kinds: Annotated[dict[Kind, bool], AfterValidator(_optional)] = Field(
        default_factory=dict, examples=[{"points_allowance": False}]
    )
    channels: Annotated[dict[Channel, bool], AfterValidator(_switchable)] = Field(
        default_factory=dict, examples=[{"email": True}]
    )


def refused(kind: str, channel: Channel, preferences: Preferences, *, consent: bool) -> Why:
    """Why a message of this kind must not go by this channel; ``NOTHING``: it may."""
    if channel is Channel.IN_APP or rule_of(kind).always:
        return Why.NOTHING
    if not consent:
        return Why.NO_CONSENT
    off = (
        not preferences.everything
        or not preferences.channels.get(channel, True)
        or any(known == kind and not wanted for known, wanted in preferences.kinds.items())
    )
    return Why.SWITCHED_OFF if off else Why.NOTHING
