"""What time does to a referral that nobody answers: reminded, overdue, expired."""

from __future__ import annotations

from collections.abc import Callable

from messaging import Transaction
from network.commands.referrals import EXPIRE, OVERDUE, REMIND, expire, mark_overdue, remind
from runtime.scheduler import Job, Jobs

jobs = Jobs()


def _handler(name: str, command: Callable[[Transaction, str, int], None]) -> None:
    @jobs.handler(name)
    def run(tx: Transaction, job: Job) -> None:
        referral_id, _, round_ = job.subject.rpartition(":")
        command(tx, referral_id, int(round_))


_handler(REMIND, remind)
_handler(OVERDUE, mark_overdue)
_handler(EXPIRE, expire)
