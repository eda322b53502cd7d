"""A refusal is an answer, not a fault: a reason for machines, a sentence for people, a next step.

Domain code may import this module; it knows nothing of HTTP but the status that fits.
"""

from __future__ import annotations


def N_(sentence: str) -> str:  # noqa: N802 - the name that gettext tools look for
    """Mark a sentence as one to be translated when it is shown."""
    return sentence


class Refusal(Exception):  # noqa: N818 - it is no error
    """What was asked cannot be done, and nothing was changed.

    `reason` is a stable code such as "card.blocked". `sentence` and `next_step` are English msgids
    and may hold {placeholders}, filled from `values` after the translation. `field` names the input
    at fault, when there is one.
    """

    status = 409

    def __init__(
        self,
        reason: str,
        sentence: str,
        next_step: str = "",
        *,
        field: str | None = None,
        **values: object,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sentence = sentence
        self.next_step = next_step
        self.field = field
        self.values = values

    def __str__(self) -> str:
        return f"{self.reason}: {filled(self.sentence, self.values)}"


class Invalid(Refusal):
    """What was sent makes no sense as it is."""

    status = 422


class NotAllowed(Refusal):
    """The caller may not do this."""

    status = 403


class NotFound(Refusal):
    """There is no such thing, or none that the caller may see."""

    status = 404


class TooLarge(Refusal):
    """More than is taken at once."""

    status = 413


class Unavailable(Refusal):
    """It cannot be done now; the same request may succeed later."""

    status = 503


def filled(sentence: str, values: dict[str, object]) -> str:
    """The sentence with its placeholders filled; one that is missing stays visible as {name}."""
    return sentence.format_map(_Shown(values))


class _Shown(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "{" + key + "}"
