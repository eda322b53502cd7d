"""A whole house for tests: the real Kafka, six services, the front door, on a throw-away folder.

One per test run. It is set up with a small centre and shared by tests that leave each other alone:
each makes the households, products and sessions that it needs.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from aiosmtpd.controller import Controller

from runtime.clock import PlayedClock
from runtime.testing import eventually
from vicinato import first_start
from vicinato.day.stage import Mailbox
from vicinato.folder import Folder
from vicinato.ports import free_block, free_port
from vicinato.processes import die_with_parent
from vicinato.settings import SERVICES, Settings, load

CENTRE = "test-centre"
FIRST_PASSWORD = "4729-3658-2947"
PASSWORD = "tre-parole-insieme"
STAFF = {
    "coordinator": "coordinator",
    "reception": "reception",
    "till": "till",
    "educator": "educator",
    "case_worker": "case_worker",
}

_counter = itertools.count(1)


def unique(what: str) -> str:
    """A name that no other test uses."""
    return f"{what}-{os.getpid()}-{next(_counter)}"


class EndedError(Exception):
    """The house ended instead of opening; with its last words. No assertion: nobody asks again."""


class AnswerError(AssertionError):
    """An answer that was not expected, with what it says."""


@dataclass(frozen=True)
class Starting:
    """How a house is started, as often as it is."""

    words: list[str]
    environment: Mapping[str, str]
    log: Path

    def begin(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.words,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )


@dataclass
class House:
    """A running house and its HTTP API. Who acts is named by role."""

    folder: Folder
    settings: Settings
    clock: PlayedClock
    mailbox: Mailbox
    process: subprocess.Popen[bytes]
    starting: Starting
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.settings.address, timeout=30)

    # starting

    def stop(self) -> None:
        """In order; killed when it does not."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped since."""
        return self.process.poll() is None

    def start(self) -> None:
        """Again, on the same data; returns when it is open."""
        self.process = self.starting.begin()
        _wait(self, self.starting.log)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command line of `vicinato` on this house's data."""
        return subprocess.run(
            [sys.executable, "-m", "vicinato.cli", *words],
            env=dict(self.starting.environment),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    # asking

    def ask(
        self, method: str, path: str, by: str = "", json: Any = None, *, status: int | None = None
    ) -> Any:
        """The JSON of an answer; a good one, or one with this status."""
        headers = {"Authorization": f"Bearer {self.tokens[by]}"} if by else {}
        answer = self.http.request(method, path, json=json, headers=headers)
        good = answer.status_code == status if status else answer.is_success
        if not good:
            raise AnswerError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def post(self, path: str, json: Any = None, *, by: str, status: int | None = None) -> Any:
        return self.ask("POST", path, by, json, status=status)

    def get(self, path: str, *, by: str, status: int | None = None) -> Any:
        return self.ask("GET", path, by, status=status)

    def token(self, email: str, password: str) -> str:
        made = self.ask(
            "POST", "/identity/api/tokens", json={"email": email, "password": password, "days": 90}
        )
        return str(made["token"])

    def account(self, name: str, roles: list[str], **links: str) -> str:
        """Somebody who can sign in with `PASSWORD`; their token is kept under `name`."""
        email = f"{name}@test.example"
        self.post(
            "/identity/api/accounts",
            {
                "email": email,
                "password": FIRST_PASSWORD,
                "roles": roles,
                "centre_id": CENTRE,
                **links,
            },
            by="administrator",
        )
        self.choose(email)
        self.tokens[name] = self.token(email, PASSWORD)
        return email

    def choose(self, email: str) -> None:
        """Somebody chooses `PASSWORD` in place of the first one that they were given."""
        body = {"email": email, "password": FIRST_PASSWORD, "new_password": PASSWORD}
        self.ask("POST", "/identity/api/password", json=body)

    # making

    def household(self, *people: dict[str, Any], consents: tuple[str, ...] = ()) -> dict[str, Any]:
        """A household with a card: ``{"id", "members", "card"}``, known to shop and activities."""
        made: dict[str, Any] = self.post(
            "/cards/api/households",
            {
                "zone": "Satta",
                "consents": ["registration", *consents],
                "members": list(people)
                or [{"given_name": "Amina", "family_name": "Prova", "language": "ar"}],
            },
            by="reception",
        )
        made["card"] = self.post(f"/cards/api/households/{made['id']}/cards", {}, by="reception")
        self.quiet()
        return made

    def product(self, price_cents: int, stock: int) -> str:
        """A product with stock; returns its id."""
        made = self.post(
            "/shop/api/products",
            {"name": unique("Pane"), "price_cents": price_cents, "barcode": unique("b")},
            by="coordinator",
        )
        path = f"/shop/api/products/{made['id']}/stock-movements"
        self.post(path, {"reason": "delivery", "quantity": stock}, by="coordinator")
        return str(made["id"])

    def session(self, capacity: int, *, in_days: float = 5) -> str:
        """A session of an activity of its own; returns its id."""
        activity = self.post(
            "/activities/api/activities",
            {"title": unique("Compiti"), "default_capacity": capacity},
            by="educator",
        )
        starts = self.clock.now() + timedelta(days=in_days)
        body = {
            "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=2)).isoformat(),
        }
        path = f"/activities/api/activities/{activity['id']}/sessions"
        return str(self.post(path, body, by="educator")["id"])

    def sell(
        self, product: str, *, card: dict[str, Any] | None, status: int | None = None, **paid: int
    ) -> Any:
        """One piece of a product at the till: ``cash`` in cents, ``points``."""
        payments: list[dict[str, Any]] = []
        if "cash" in paid:
            payments.append({"method": "cash", "amount_cents": paid["cash"]})
        if "points" in paid:
            payments.append({"method": "points", "points": paid["points"]})
        return self.post(
            f"/shop/api/tills/{self.till}/sales",
            {
                "id": str(uuid.uuid4()),
                "card": {"token": card["token"]} if card else None,
                "lines": [{"product_id": product, "quantity": 1}],
                "payments": payments,
            },
            by="till",
            status=status,
        )

    @property
    def till(self) -> str:
        if not hasattr(self, "_till"):
            self._till = self.post("/shop/api/tills", {"name": "Cassa"}, by="coordinator")["id"]
        return str(self._till)

    def points(self, household: str) -> tuple[int, int]:
        """Available and held."""
        found = self.get(f"/cards/api/households/{household}/points", by="coordinator")
        return found["available"], found["held"]

    # looking

    def metrics(self, service: str) -> str:
        port = self.settings.service_port(service)
        # By a client that is there: to make one takes ten times as long as to ask.
        return self.http.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

    def quiet(self, within: float = 60) -> None:
        """Wait until nothing is on its way."""

        def rests() -> bool:
            try:
                pages = [self.metrics(name) for name in SERVICES]
            except httpx.HTTPError:
                return False
            return all(rests_by(page) for page in pages)

        for _ in range(2):
            eventually(rests, within=within, why="the house comes to rest")

    def child(self, name: str) -> int:
        """The process of a part, as the supervisor knows it."""
        state: Any = self.folder.read_state()
        return next(int(c["pid"] or 0) for c in state["children"] if c["name"] == name)


def rests_by(page: str) -> bool:
    """Whether nothing is on its way to or from a service, by its page of metrics."""
    busy = ("vicinato_outbox_unsent ", "vicinato_consumer_lag", 'vicinato_set_aside{state="wait')
    lines = [line for line in page.splitlines() if line.startswith(busy)]
    return "vicinato_bus_connected 1.0" in page and all(line.endswith(" 0.0") for line in lines)


@contextmanager
def open_house(
    database: str = "sqlite",
    *,
    root: Path | None = None,
    starter: str = "vicinato.cli",
    more: Mapping[str, str] | None = None,
) -> Iterator[House]:
    """Start a house and set a small centre up; stop it at the end.

    `starter` is the module that starts it, `more` what its environment has besides. Its folder goes
    with it, unless it was given or the house broke down.
    """
    own = root is None
    root = root or Path(tempfile.mkdtemp(prefix="vicinato-house-"))
    mailbox = Mailbox()
    mail = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    mail.start()
    clock_file = root / "clock"
    clock = PlayedClock(clock_file)
    # A weekday morning, so that no message waits for the end of the night.
    clock.play(datetime(2026, 11, 18, 9, 0, tzinfo=UTC) - clock.under.now())
    environment = {
        **os.environ,
        "PORT": str(free_block()),
        "DATA": str(root / "data"),
        "DATABASE": database,
        "DEMO": "false",
        "VICINATO_CLOCK_FILE": str(clock_file),
        "VICINATO_SMTP_HOST": "127.0.0.1",
        "VICINATO_SMTP_PORT": str(mail.port),
        "VICINATO_SMTP_SENDER": "centro@test.example",
        "VICINATO_SMTP_STARTTLS": "false",
        **(more or {}),
    }
    settings = load(environment)
    starting = Starting([sys.executable, "-m", starter, "up"], environment, root / "up.log")
    process = starting.begin()
    house = House(Folder(settings.data), settings, clock, mailbox, process, starting)
    try:
        _wait(house, starting.log)
        _set_up(house)
        yield house
    finally:
        house.stop()
        mail.stop()
        house.http.close()
    if own:
        shutil.rmtree(root, ignore_errors=True)


def _wait(house: House, log: Path) -> None:
    deadline = time.monotonic() + 60 + house.settings.ready_within

    def opened() -> bool:
        if house.process.poll() is not None:
            raise EndedError(log.read_text("utf-8", "replace")[-2000:])
        return b"is open at" in log.read_bytes()

    eventually(opened, within=deadline - time.monotonic(), why="the house opens")


def _set_up(house: House) -> None:
    who = first_start.administrator(house.settings, house.folder)
    house.tokens["administrator"] = house.token(who["email"], who["password"])
    house.post(
        "/identity/api/centres", {"id": CENTRE, "name": "Centro di prova"}, by="administrator"
    )
    for name, role in STAFF.items():
        house.account(name, [role])
    house.quiet()
    house.post(
        "/cards/api/earning-rules",
        {"per_euro": 1, "per_attendance": 5, "valid_days": 365},
        by="coordinator",
    )
