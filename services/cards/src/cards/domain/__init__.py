"""The rules of cards, without any I/O: points, earning, cards, households."""
