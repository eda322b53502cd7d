"""Notifications: messages that reach a family in its language, not at night."""
