"""The rules of identity, without any input or output."""
