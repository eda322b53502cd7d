"""The rules of the network, without any input or output."""
