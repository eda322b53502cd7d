"""The refusal of whoever tries too often."""

from __future__ import annotations

from runtime.refusals import N_, Refusal


class TooMany(Refusal):
    """Tried too often. ``after`` is how many seconds to wait."""

    status = 429

    def __init__(self, after: int) -> None:
        super().__init__(
            "rate.too_many",
            N_("There were too many attempts."),
            N_("Wait a few minutes, then try again."),
        )
        self.after = after
