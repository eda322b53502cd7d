"""What can be asked of notifications: plain functions over a transaction; they never commit."""

from notifications.commands.calls import call_done, end_calls
from notifications.commands.hand_over import HandOver, anything_due, finish, lose_expired, take
from notifications.commands.messages import News, forget_person, mark_read, send_again, tell
from notifications.commands.overtaken import overtake
from notifications.commands.wishes import forget_household, set_hours, set_preferences

__all__ = [
    "HandOver",
    "News",
    "anything_due",
    "call_done",
    "end_calls",
    "finish",
    "forget_household",
    "forget_person",
    "lose_expired",
    "mark_read",
    "overtake",
    "send_again",
    "set_hours",
    "set_preferences",
    "take",
    "tell",
]
