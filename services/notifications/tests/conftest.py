"""A centre that writes to families: its real store, and a real mail server that obeys."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any, TypeVar, cast

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from contracts import Event
from contracts.activities import (
    OfferExpired,
    SignUpCancelled,
    SignUpConfirmed,
    SignUpOffered,
    SignUpWaitlisted,
)
from contracts.cards import CreditReason, HouseholdRegistered, PointsCredited
from contracts.identity import CentreOpened
from contracts.notifications import Channel
from contracts.people import PersonDescribed
from messaging import Transaction
from messaging.testing import Bench
from notifications import store
from notifications.app import SERVICE
from notifications.checks import CHECKS
from notifications.settings import NotificationsSettings
from notifications.worker import Courier
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import store_of

T = TypeVar("T")

CENTRE = "centre-1"
IN_A_WEEK = timedelta(days=7)


class World:
    """A centre with households, and words for what happens around them."""

    def __init__(self, bench: Bench, clock: FixedClock) -> None:
        self.bench = bench
        self.clock = clock
        self.url = bench.store.url
        self.sign_ups = 0
        bench.deliver(CentreOpened(centre_id=CENTRE, name="Casa Satta", opened_at=self.now))

    @property
    def now(self) -> datetime:
        return self.clock.now()

    # people

    def person(self, person_id: str, household_id: str = "house-1", **more: Any) -> PersonDescribed:
        return PersonDescribed(
            **{
                "person_id": person_id,
                "household_id": household_id,
                "centre_id": CENTRE,
                "revision": 1,
                "given_name": person_id.capitalize(),
                "family_name": "Rossi",
                "language": "it",
                "email": f"{person_id}@example.org",
                "phone": "+393331234567",
                "messages_allowed": True,
                "described_at": self.now,
                **more,
            }
        )

    def registered(
        self, household_id: str = "house-1", holder_id: str = "maria", centre_id: str = CENTRE
    ) -> HouseholdRegistered:
        return HouseholdRegistered(
            household_id=household_id,
            centre_id=centre_id,
            holder_id=holder_id,
            person_ids=(holder_id,),
            registered_at=self.now,
        )

    def household(
        self, household_id: str = "house-1", holder_id: str = "maria", **holder: Any
    ) -> None:
        """A household that is known, whose welcome is over and forgotten."""
        self.bench.deliver(
            self.person(holder_id, household_id, holder=True, **holder),
            self.registered(household_id, holder_id, holder.get("centre_id", CENTRE)),
        )
        self.bench.run(_without_messages)

    # facts

    def sign_up(self, kind: type[Event], person_id: str = "maria", **more: Any) -> Any:
        """A fact of a sign-up of its own, unless it is named."""
        self.sign_ups += 1
        return kind.model_validate(
            {
                "session_id": "session-1",
                "centre_id": CENTRE,
                "signup_id": f"signup-{self.sign_ups}",
                "person_id": person_id,
                "household_id": "house-1",
                "title": "Spazio compiti",
                "starts_at": self.now + IN_A_WEEK,
                "at": self.now,
                **more,
            }
        )

    def confirmed(self, person_id: str = "maria", **more: Any) -> SignUpConfirmed:
        return cast(SignUpConfirmed, self.sign_up(SignUpConfirmed, person_id, **more))

    def waitlisted(self, person_id: str = "maria", **more: Any) -> SignUpWaitlisted:
        found = self.sign_up(SignUpWaitlisted, person_id, **{"position": 3, **more})
        return cast(SignUpWaitlisted, found)

    def offered(self, person_id: str = "maria", **more: Any) -> SignUpOffered:
        answer_by = self.now + timedelta(hours=48)
        found = self.sign_up(SignUpOffered, person_id, **{"answer_by": answer_by, **more})
        return cast(SignUpOffered, found)

    def expired(self, person_id: str = "maria", **more: Any) -> OfferExpired:
        return cast(OfferExpired, self.sign_up(OfferExpired, person_id, **more))

    def cancelled(
        self, person_id: str = "maria", reason: str = "by_staff", **more: Any
    ) -> SignUpCancelled:
        found = self.sign_up(SignUpCancelled, person_id, reason=reason, **more)
        return cast(SignUpCancelled, found)

    def credited(
        self, reason: CreditReason = CreditReason.ATTENDANCE, **more: Any
    ) -> PointsCredited:
        return PointsCredited(
            **{
                "household_id": "house-1",
                "transfer_id": "transfer-1",
                "reason": reason,
                "origin": "origin-1",
                "points": 10,
                "buckets": (),
                "available": 25,
                "held": 0,
                "credited_at": self.now,
                **more,
            }
        )

    # what came of it

    def rows(self, table: sa.Table, **equal: Any) -> list[Any]:
        conditions = [table.c[name] == value for name, value in equal.items()]
        return list(self.bench.read(lambda c: c.execute(sa.select(table).where(*conditions)).all()))

    def messages(self) -> list[Any]:
        return self.rows(store.message)

    def delivery(self, channel: str = "email") -> Any:
        """The only delivery by a channel."""
        (found,) = self.rows(store.delivery, channel=channel)
        return found

    def states(self) -> dict[str, str]:
        """The state by channel of the only message."""
        (message,) = self.messages()
        return {row.channel: row.state for row in self.rows(store.delivery, message_id=message.id)}

    def faults(self) -> list[str]:
        """What the checks of `verify` name."""
        return [str(fault) for check in CHECKS for fault in self.bench.read(check.run)]

    # the worker

    def courier(self, port: int = 0, *, timeout: float = 20) -> Courier:
        """A process that hands e-mails over to the server at this port (0: there is none)."""
        return Courier(
            BenchStore(self.bench),
            NotificationsSettings(
                service="notifications",
                database_url=self.url,
                public_url="http://casa.example",
                smtp_host="127.0.0.1" if port else "",
                smtp_port=port or 25,
                smtp_sender="casa@casa.example",
                smtp_starttls=False,
                notifications_smtp_timeout=timeout,
            ),
            self.clock,
        )


def emitted(world: World, kind: Any) -> list[Any]:
    """What was told of e-mails."""
    return [event for event in world.bench.emitted(kind) if event.channel is Channel.EMAIL]


def attempts(world: World) -> list[tuple[str, str]]:
    """Every answer of the mail server with its code, in the order they came."""
    rows = sorted(world.rows(store.attempt), key=lambda row: (row.at, row.lease_id))
    return [(row.answer, row.code) for row in rows]


class BenchStore:
    """The store of a bench, as the worker sees it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        return await asyncio.to_thread(self._bench.run, work, actor="system", centre="")

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        return await asyncio.to_thread(self._bench.read, work)


def _without_messages(tx: Transaction) -> None:
    for table in (store.delivery, store.message):
        tx.connection.execute(sa.delete(table))


@dataclass
class MailServer:
    """A real SMTP server. ``rcpt`` and ``data`` say what it answers; `hang` and `drop` come after
    the whole text was received."""

    port: int
    mail: str = ""
    rcpt: str = ""
    data: str = ""
    asked: int = 0
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def mails(self) -> list[EmailMessage]:
        return [
            cast(EmailMessage, message_from_bytes(raw, policy=SMTP_POLICY)) for _, raw in self.taken
        ]

    @property
    def recipients(self) -> list[str]:
        return [address for addresses, _ in self.taken for address in addresses]

    # what aiosmtpd calls

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        self.asked += 1
        if self.mail:
            return self.mail
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.rcpt:
            return self.rcpt
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data and self.data not in ("hang", "drop"):
            return self.data
        self.taken.append((envelope.rcpt_tos, envelope.content))
        if self.data == "hang":
            await asyncio.to_thread(self.released.wait)
        if self.data == "drop":
            server.transport.abort()
        return "250 OK"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer(free_port())
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    yield server
    server.released.set()
    controller.stop()


store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def world(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[World]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        yield World(bench, clock)


@pytest.fixture
def sqlite_world(tmp_path: Any, clock: FixedClock, ids: SequenceIds) -> Iterator[World]:
    """For what is the same on both engines."""
    with Bench(SERVICE, f"sqlite:///{tmp_path / 'one.db'}", clock=clock, ids=ids) as bench:
        yield World(bench, clock)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
