"""What cards answers to a payment in points moves the sale. Everything else is memory only.

A hold that was placed after the sale had ended does nothing here: ``shop.sale.cancelled`` has told
cards, which frees it. A hold of a sale that this store never had is not ours to answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.cards import HoldCaptured, HoldDeclined, HoldPlaced
from messaging import Policies, Received, Transaction
from runtime.logging import get_logger
from runtime.scheduler import Job, Jobs
from runtime.store import lock_rows
from solidarity_shop import queries, store
from solidarity_shop.commands.sales import TIMEOUT_JOB, advance
from solidarity_shop.domain import sale as machine

log = get_logger()
policies = Policies()
jobs = Jobs()

Answer = HoldPlaced | HoldDeclined | HoldCaptured


def lock_sales(tx: Transaction, batch: Sequence[Received[Answer]]) -> None:
    """All sales that a batch names, in id order."""
    lock_rows(tx.connection, store.sale, [received.event.sale_id for received in batch])


def lock_sales_and_products(tx: Transaction, batch: Sequence[Received[HoldDeclined]]) -> None:
    """Sales that will give their stock back: then all their products, so that a batch does not
    deadlock with a till that sells the same things in another order."""
    sale_ids = [received.event.sale_id for received in batch]
    lock_rows(tx.connection, store.sale, sale_ids)
    lock_rows(tx.connection, store.product, queries.products_taken(tx.connection, sale_ids))


@policies.on(HoldPlaced, prefetch=lock_sales)
def complete_sale(tx: Transaction, received: Received[HoldPlaced]) -> None:
    """Cards has set the points aside: the sale is completed."""
    hold = received.event
    _answered(
        tx, hold, lambda now, wanted: machine.hold_placed(now, wanted=wanted, held=hold.points)
    )


@policies.on(HoldDeclined, prefetch=lock_sales_and_products)
def cancel_declined_sale(tx: Transaction, received: Received[HoldDeclined]) -> None:
    """Cards said no: the sale is cancelled with its reason, the stock comes back."""
    hold = received.event
    _answered(tx, hold, lambda now, _: machine.hold_declined(now, hold.reason))


@policies.on(HoldCaptured, prefetch=lock_sales)
def note_capture(tx: Transaction, received: Received[HoldCaptured]) -> None:
    """The points are taken: the end of the way, for the receipt."""
    _answered(tx, received.event, lambda now, _: machine.captured(now))


@jobs.handler(TIMEOUT_JOB)
def time_out(tx: Transaction, job: Job) -> None:
    """Fifteen minutes are over: a sale that still waits is cancelled. Any other is left alone."""
    sale = store.locked_row(tx.connection, store.sale, job.subject)
    if sale is not None:
        advance(tx, sale, lambda now: machine.given_up(now, machine.TIMED_OUT))


def _answered(tx: Transaction, answer: Answer, step: machine.Step) -> None:
    sale = store.locked_row(tx.connection, store.sale, answer.sale_id)
    if sale is None or sale["payment_id"] != answer.hold_id:
        log.warning("shop.hold.without_sale", subject_id=answer.sale_id)
        return
    before = sale["state"]
    if sale["till_id"] == machine.UNKNOWN_TILL and before == machine.State.WAITING:
        advance(tx, sale, lambda now: machine.given_up(now, machine.FORGOTTEN))
        return
    after = advance(tx, sale, lambda now: step(now, sale["points"]))
    if before == machine.State.CANCELLED and isinstance(answer, HoldPlaced):
        log.info("shop.hold.after_cancellation", subject_id=answer.sale_id, state=after.state.value)
