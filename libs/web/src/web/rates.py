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
            N_("Wait {minutes} min, then try again."),
            minutes=-(-after // 60),
        )
        self.after = after
