"""What can be asked of the network, one plain function each; none commits."""

from network.commands.directory import (
    change_organisation,
    change_service,
    organisation_changed_meanwhile,
    register_organisation,
    register_service,
    say_capacity,
    service_changed_meanwhile,
)
from network.commands.needs import record_need
from network.commands.referrals import act_on, expire, mark_overdue, record_referral, remind
from network.commands.rules import rules_changed_meanwhile, set_rules

__all__ = [
    "act_on",
    "change_organisation",
    "change_service",
    "expire",
    "mark_overdue",
    "organisation_changed_meanwhile",
    "record_need",
    "record_referral",
    "register_organisation",
    "register_service",
    "remind",
    "rules_changed_meanwhile",
    "say_capacity",
    "service_changed_meanwhile",
    "set_rules",
]
