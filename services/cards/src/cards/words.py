"""The words of the field for the codes of cards, and the timeline in plain sentences.

All of them are msgids; they are filled and translated for the reader by ``tell`` and by the pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cards.queries import Happened
from runtime.refusals import N_
from web import formats
from web.translations import Translator

PURPOSES = {
    "registration": N_("Being registered here"),
    "messages": N_("Receiving messages"),
    "referrals": N_("Being referred to other organisations"),
}
STAGES = {
    "welcome": N_("Welcome"),
    "accompaniment": N_("Accompaniment"),
    "autonomy": N_("Autonomy"),
}
BLOCK_REASONS = {
    "lost": N_("Lost"),
    "stolen": N_("Stolen"),
    "replaced": N_("Replaced by a new card"),
    "other": N_("Another reason"),
}
CARD_STATES = {"active": N_("In use"), "blocked": N_("Blocked")}
SIGNUP_STATES = {
    "confirmed": N_("Has a place"),
    "waitlisted": N_("On the waiting list"),
    "offered": N_("A place is offered"),
}
CHANNELS = {
    "in_app": N_("inbox"),
    "email": N_("e-mail"),
    "sms": N_("SMS"),
    "call": N_("phone call"),
}
CREDITED = {
    "sale": N_("Earned at the shop: {points}."),
    "attendance": N_("Earned by taking part: {points}."),
    "allowance": N_("Received from the centre: {points}."),
    "adjustment": N_("Given by the staff: {points}."),
    "refund": N_("Given back with a refund: {points}."),
}
DEBITED = {
    "adjustment": N_("Taken by the staff: {points}."),
    "refund": N_("Taken back because of a refund: {points}."),
    "attendance_corrected": N_("Taken back because the attendance was corrected: {points}."),
}
DECLINED = {
    "points.too_few": N_("A payment of {points} was not possible: too few points."),
    "card.blocked": N_("A payment of {points} was not possible: the card is blocked."),
}
OUTCOMES = {"met": N_("solved"), "partly_met": N_("partly solved"), "failed": N_("not solved")}

SENTENCES = {
    "cards.household.registered": N_("The household was registered."),
    "cards.household.changed": N_("The data of the household were changed."),
    "cards.household.erased": N_("The data of the household were erased."),
    "cards.consent.given": N_("Consent given: {purpose}."),
    "cards.consent.withdrawn": N_("Consent withdrawn: {purpose}."),
    "cards.card.issued": N_("A card was handed out."),
    "cards.card.blocked": N_("A card was blocked: {block_reason}."),
    "cards.card.replaced": N_("A card was replaced by a new one."),
    "cards.points.expired": N_("Expired: {points}."),
    "cards.hold.placed": N_("Set aside for a payment at the shop: {points}."),
    "cards.hold.declined": N_("A payment of {points} was not possible."),
    "cards.hold.captured": N_("Spent at the shop: {captured}."),
    "cards.hold.released": N_("Set aside before, to be spent again: {points}."),
    "cards.path.stage_changed": N_("Path: {stage}."),
    "shop.sale.completed": N_("A purchase of {total} at the shop."),
    "shop.sale.cancelled": N_("A purchase at the shop was cancelled."),
    "shop.sale.refunded": N_("A refund of {total} at the shop."),
    "activities.signup.confirmed": N_("A place in “{title}” on {starts_at}."),
    "activities.signup.waitlisted": N_("On the waiting list of “{title}” on {starts_at}."),
    "activities.signup.offered": N_("A place in “{title}” is offered until {answer_by}."),
    "activities.offer.expired": N_("The offered place in “{title}” was not taken in time."),
    "activities.signup.cancelled": N_("The sign-up for “{title}” on {starts_at} ended."),
    "activities.attendance.recorded": N_("Took part in “{title}” on {starts_at}."),
    "notifications.message.delivered": N_("A message was delivered ({channel})."),
    "notifications.message.failed": N_("A message could not be delivered ({channel})."),
    "notifications.contact.unreachable": N_("A contact does not work any more ({channel})."),
    "network.need.recorded": N_("A need was recorded."),
    "network.referral.requested": N_("An organisation was asked for help."),
    "network.referral.accepted": N_("The organisation takes care of it."),
    "network.referral.rejected": N_("The organisation cannot help."),
    "network.referral.rerouted": N_("Another organisation was asked for help."),
    "network.referral.overdue": N_("The organisation has not answered yet."),
    "network.referral.completed": N_("The organisation has finished: {outcome}."),
    "network.referral.cancelled": N_("The request for help was withdrawn."),
    "network.referral.expired": N_("The organisation never answered."),
}
ABSENT = N_("Was not there at “{title}” on {starts_at}.")
TIMED_OUT = N_("Forgotten in a payment, to be spent again: {points}.")
OTHER = N_("Something happened.")


def tell(to: Translator, happened: Happened, zone: ZoneInfo) -> str:
    """A row of the timeline as a sentence in the reader's language; times are of the zone."""
    facts = happened.facts
    return to.say(_sentence(happened.kind, facts), **_filled(to, facts, zone))


def _sentence(kind: str, facts: Mapping[str, Any]) -> str:
    reason = str(facts.get("reason", ""))
    if kind == "cards.points.credited":
        return CREDITED.get(reason, OTHER)
    if kind == "cards.points.debited":
        return DEBITED.get(reason, OTHER)
    if kind == "cards.hold.declined":
        return DECLINED.get(reason, SENTENCES[kind])
    if kind == "cards.hold.released" and facts.get("timed_out"):
        return TIMED_OUT
    if kind == "activities.attendance.recorded" and not facts.get("present"):
        return ABSENT
    return SENTENCES.get(kind, OTHER)


def _filled(to: Translator, facts: Mapping[str, Any], zone: ZoneInfo) -> dict[str, str]:
    """The facts as the reader's language shows them."""
    shown: dict[str, str] = {"title": str(facts.get("title", ""))}
    for name in ("points", "captured"):
        if isinstance(facts.get(name), int):
            shown[name] = formats.points(to, facts[name])
    if isinstance(facts.get("total_cents"), int):
        shown["total"] = formats.money(to, facts["total_cents"])
    for name in ("starts_at", "answer_by"):
        if facts.get(name):
            shown[name] = formats.moment(to, datetime.fromisoformat(facts[name]), zone)
    for name, words in (
        ("purpose", PURPOSES),
        ("stage", STAGES),
        ("channel", CHANNELS),
        ("outcome", OUTCOMES),
    ):
        if facts.get(name):
            shown[name] = to.gettext(words.get(facts[name], str(facts[name])))
    if facts.get("reason"):
        shown["block_reason"] = to.gettext(BLOCK_REASONS.get(facts["reason"], facts["reason"]))
    return shown
