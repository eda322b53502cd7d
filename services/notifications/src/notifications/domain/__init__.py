"""The rules of messages, without input or output."""
