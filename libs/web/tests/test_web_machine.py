"""The machine of a service: seen by those who lead, touched by administrators."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts.activities import ActivityCreated
from messaging import Projection, ProjectionTransaction, Received, Transaction, marks, tables
from messaging.envelope import Record
from messaging.rebuild import Progress
from messaging.testing import count_as_sent
from runtime.clock import Clock, ClockGuard, FixedClock
from runtime.scheduler import JOB, Job, Jobs, schedule
from runtime.testing import eventually_async
from web import Role
from web.testing import Client, PageSeen, token

titles = sa.Table(
    "titles",
    tables.metadata_with_messaging(),
    sa.Column("activity_id", sa.String(64), primary_key=True),
)
TITLES = Projection("titles", version=1, tables=(titles,))
JOBS = Jobs()
WHEN = datetime(2026, 11, 1, tzinfo=UTC)


@TITLES.on(ActivityCreated)
def remember(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    row = {"activity_id": received.event.activity_id}
    p.upsert(p.table(titles), row, key=("activity_id",))


@JOBS.handler("sample.work")
def work(tx: Transaction, job: Job) -> None:
    if not job.data.get("good"):
        raise ValueError(job.subject)


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Client]:
    """The sample, that also tells, remembers and has work to do; an administrator is signed in."""
    from web_sample.app import SERVICE

    service = dataclasses.replace(
        SERVICE, topics=("activities.events",), projections=(TITLES,), jobs=JOBS
    )
    async with Client(service, f"sqlite:///{tmp_path / 'sample.db'}", clock=clock) as made:
        await made.store.write(titles.create)
        yield as_administrator(made)


def as_administrator(client: Client) -> Client:
    return client.sign_in(token(Role.ADMINISTRATOR))


def as_coordinator(client: Client) -> Client:
    return client.sign_in(token(Role.COORDINATOR, centre="c1"))


READING = ("/projections", "/projections/titles", "/jobs", "/clock")
ACTING = (
    "/log/replay",
    "/log/reread",
    "/log/compare",
    "/projections/titles/rebuild",
    "/projections/rebuild",
)


@pytest.mark.parametrize("role", [Role.TILL, Role.RECEPTION, Role.FAMILY, Role.CASE_WORKER])
async def test_only_those_who_lead_see_it(client: Client, role: Role) -> None:
    client.sign_in(token(role, centre="c1"))
    assert (await client.get("/sample/machine")).status_code == 403
    for path in READING:
        assert (await client.get(f"/sample/api{path}")).status_code == 403
    for path in (*ACTING, "/jobs/revive", "/clock/confirm"):
        answer = await client.post(f"/sample/api{path}", json={"topic": "x", "name": "x"})
        assert answer.status_code == 403, path


async def test_a_coordinator_looks_and_an_administrator_acts(client: Client) -> None:
    as_coordinator(client)
    for path in READING:
        assert (await client.get(f"/sample/api{path}")).status_code == 200
    for path in (*ACTING, "/jobs/revive"):
        answer = await client.post(f"/sample/api{path}", json={"topic": "x", "name": "x"})
        assert answer.json()["reason"] == "auth.role", path
    page = await client.page("/sample/machine")
    assert not [form for form in page.forms if "/machine/" in form.action]


async def test_a_token_needs_the_scope(client: Client) -> None:
    client.sign_in(token(Role.ADMINISTRATOR, scopes=["events:read"]))
    assert (await client.get("/sample/api/projections")).status_code == 200
    answer = await client.post("/sample/api/log/reread")
    assert answer.json()["reason"] == "auth.scope"


async def tell(client: Client, *activities: str) -> None:
    """Emit, and mark as sent: there is no bus here."""

    def emit(tx: Transaction) -> None:
        for one in activities:
            tx.emit(
                ActivityCreated(activity_id=one, centre_id="c", title="Cena", created_at=tx.now)
            )

    await client.run(emit)
    await client.store.write(count_as_sent)


async def unsent(client: Client) -> int:
    return await client.read(marks.count_unsent)


async def test_own_events_are_sent_again_by_topic_key_and_time(
    client: Client, clock: FixedClock
) -> None:
    await tell(client, "a", "b")
    clock.advance(timedelta(hours=1))
    later = clock.now()
    await tell(client, "a")

    async def again(status: int = 200, **chosen: str) -> object:
        answer = await client.post("/sample/api/log/replay", json=chosen)
        assert answer.status_code == status, answer.text
        return answer.json().get("sent_again", answer.json().get("reason"))

    assert await again(topic="activities.events", key="a", since=later.isoformat()) == 1
    await tell(client)
    assert await again(topic="activities.events", key="a") == 2
    await tell(client)
    assert await again(topic="activities.events") == 3
    assert await again(404, topic="cards.events") == "topic.unknown"
    assert await again(404, topic="activities.events", key="nobody") == "key.unknown"
    assert await unsent(client) == 3
    assert (
        await again(422, topic="activities.events", since="2026-01-01T00:00:00") == "input.invalid"
    )


async def test_the_same_request_twice_sends_once(client: Client) -> None:
    await tell(client, "a")
    key = {"Idempotency-Key": "one"}
    body = {"topic": "activities.events"}
    first = await client.post("/sample/api/log/replay", json=body, headers=key)
    await tell(client)
    second = await client.post("/sample/api/log/replay", json=body, headers=key)
    assert first.json() == second.json() == {"sent_again": 1}
    assert await unsent(client) == 0
    other = await client.post("/sample/api/log/replay", json={"topic": "x"}, headers=key)
    assert other.json()["reason"] == "idempotency.other_content"


async def test_a_reread_begins_and_a_comparison_needs_the_bus(client: Client) -> None:
    answer = await client.post("/sample/api/log/reread")
    assert (answer.status_code, answer.json()) == (202, {"begun": "reread"})
    answer = await client.post("/sample/api/log/compare", headers={"Accept-Language": "it"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "bus.away")
    assert answer.json()["next_step"] == "Collegalo e riprova."


class Reader:
    """A log of nothing, or one that cannot be read."""

    def __init__(self, broken: bool) -> None:
        self.broken = broken

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        if self.broken:
            raise ValueError("not a log")
        return {}

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        for records in ():
            yield records


class FakeBus:
    """As much of a bus as a rebuild needs."""

    broken = False

    @contextlib.asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        yield Reader(self.broken)


async def test_a_read_model_is_built_anew_and_its_progress_is_seen(client: Client) -> None:
    client.parts.engine.bus = FakeBus()  # type: ignore[assignment]
    await client.store.write(lambda c: c.execute(sa.insert(titles).values(activity_id="left over")))
    key = {"Idempotency-Key": "one"}
    path = "/sample/api/projections/titles"
    answer = await client.post(f"{path}/rebuild", headers=key)
    begun = answer.json()
    assert (answer.status_code, begun["state"]) == (202, "building")

    async def done() -> bool:
        seen = (await client.get(path)).json()
        return bool(seen["state"] == "live" and seen["progress"]["done"])

    await eventually_async(done, why="the rebuild")
    assert await client.read(lambda c: c.execute(sa.select(titles)).all()) == []
    assert (await client.post(f"{path}/rebuild", headers=key)).json() == begun
    assert await done()
    answer = await client.get("/sample/api/projections")
    assert [one["name"] for one in answer.json()["items"]][1:] == ["titles"]
    assert (await client.get("/sample/api/projections/none")).status_code == 404
    assert (await client.post("/sample/api/projections/none/rebuild")).status_code == 404


async def test_all_read_models_are_built_anew_at_once(client: Client) -> None:
    client.parts.engine.bus = FakeBus()  # type: ignore[assignment]
    await client.store.write(lambda c: c.execute(sa.insert(titles).values(activity_id="left over")))
    page = await client.page("/sample/machine")
    await page.form("rebuild-all").submit()

    async def done() -> bool:
        items = (await client.get("/sample/api/projections")).json()["items"]
        return all(one["state"] == "live" and one["progress"]["done"] for one in items)

    await eventually_async(done, why="the rebuilds")
    assert await client.read(lambda c: c.execute(sa.select(titles)).all()) == []
    answer = await client.post("/sample/api/projections/rebuild")
    assert answer.status_code == 202
    assert {one["state"] for one in answer.json()["items"]} == {"building"}
    await eventually_async(done, why="the rebuilds")


async def test_one_that_was_built_before_and_broke_is_built_again(client: Client) -> None:
    engine = client.parts.engine
    engine.rebuilds.progress["titles"] = Progress(done=True)
    state = tables.projection.c.state
    broken = sa.update(tables.projection).where(tables.projection.c.name == "titles")
    await client.store.write(lambda c: c.execute(broken.values({state: "broken"})))
    await engine.rebuilds.what_must(FakeBus())  # type: ignore[arg-type]
    items = (await client.get("/sample/api/projections")).json()["items"]
    assert [one["state"] for one in items if one["name"] == "titles"] == ["live"]


async def test_a_broken_read_model_is_named_and_needs_the_bus(client: Client) -> None:
    state = tables.projection.c.state
    broken = sa.update(tables.projection).where(tables.projection.c.name == "titles")
    await client.store.write(lambda c: c.execute(broken.values({state: "broken"})))
    page = await client.page("/sample/machine")
    assert "broken: the old content answers" in page
    page = await page.form("rebuild-titles").submit(status=409)
    assert "The message bus is not connected." in page


async def given_up(client: Client, subject: str, *, good: bool) -> None:
    def put(connection: sa.Connection) -> None:
        schedule(connection, "sample.work", subject, WHEN, period="2026-11", data={"good": good})
        dead = {"state": "dead", "tries": 6, "error": "ValueError"}
        connection.execute(sa.update(JOB).where(JOB.c.subject == subject).values(dead))

    await client.store.write(put)


async def state_of(client: Client, subject: str) -> str:
    row = sa.select(JOB.c.state).where(JOB.c.subject == subject)
    return await client.read(lambda c: c.scalar(row) or "")


async def test_work_that_was_given_up_is_seen_and_tried_again(client: Client) -> None:
    await given_up(client, "household-1", good=True)
    listed = (await client.get("/sample/api/jobs")).json()["items"]
    assert [(one["name"], one["subject"], one["period"], one["tries"]) for one in listed] == [
        ("sample.work", "household-1", "2026-11", 6)
    ]
    body = {"name": "sample.work", "subject": "household-1", "period": "2026-11"}
    answer = await client.post("/sample/api/jobs/revive", json=body)
    assert answer.status_code == 202

    async def done() -> bool:
        return await state_of(client, "household-1") == "done"

    await eventually_async(done, why="the work, with what it was given")
    answer = await client.post("/sample/api/jobs/revive", json=body)
    assert answer.json()["reason"] == "job.unknown"


async def test_the_page_shows_how_the_service_stands(client: Client) -> None:
    await tell(client, "a")
    await client.run(
        lambda tx: tx.emit(
            ActivityCreated(activity_id="b", centre_id="c", title="Cena", created_at=tx.now)
        )
    )
    await given_up(client, "household-1", good=True)
    page = await client.page("/sample/machine")
    assert "1 event" in page
    assert "none is set up" in page
    assert "needs a decision: 0" in page
    assert "titles" in page
    assert "ValueError" in page
    page = await page.form("revive-1").submit()
    assert "Nothing was given up" in page
    assert await state_of(client, "household-1") in ("waiting", "done")
    await page.follow("needs a decision")


async def test_the_page_is_in_every_language(client: Client) -> None:
    for language, heading in (
        ("it", "La macchina"),
        ("ar", "الجهاز"),
        ("es", "La máquina"),
        ("fr", "La machine"),
    ):
        page = await client.page(f"/sample/machine?lang={language}")
        assert heading in page
        assert page.language == language
        assert page.direction == ("rtl" if language == "ar" else "ltr")


class Wall:
    """The clock of the machine, that somebody sets."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def now(self) -> datetime:
        return self.clock.now()


async def jump(client: Client, clock: FixedClock) -> ClockGuard:
    """The machine's clock goes a month ahead; a fixed one alone would be declared play."""
    guard = client.parts.engine.guard
    guard._clock = Wall(clock)
    await client.store.write(guard.confirm)
    clock.advance(timedelta(days=31))
    assert guard.suspicious
    return guard


async def test_a_doubted_date_holds_work_until_somebody_says_that_it_is_right(
    client: Client, clock: FixedClock
) -> None:
    await jump(client, clock)
    assert await client.run(lambda tx: tx.doubted)
    await client.run(
        lambda tx: tx.schedule("sample.work", "household-1", tx.now, data={"good": True})
    )
    as_coordinator(client)
    assert (await client.get("/sample/api/clock")).json()["doubted"]
    assert await looked_at(client) == "waiting"
    page = await client.page("/sample/machine")
    assert "17 Dec 2026, 10:00" in page
    assert "The last time that was sure was 16 Nov 2026, 10:00." in page
    page = await page.form("clock").submit()
    assert "Is the date right?" not in page

    async def done() -> bool:
        return await state_of(client, "household-1") == ""

    await eventually_async(done, why="the work goes on")
    seen = (await client.get("/sample/api/clock")).json()
    assert (seen["doubted"], seen["reason"]) == (False, "")
    assert not await client.run(lambda tx: tx.doubted)


async def looked_at(client: Client) -> str:
    """What the work is after the runner looked at it."""
    assert client.parts.engine.jobs.run_due() == 0
    return await state_of(client, "household-1")


async def test_a_program_may_confirm_the_date(client: Client, clock: FixedClock) -> None:
    await jump(client, clock)
    before = (await client.get("/sample/api/clock")).json()
    assert before["reason"].startswith("the clock jumped forward by 3")
    after = (await client.post("/sample/api/clock/confirm")).json()
    assert (after["doubted"], after["trusted"]) == (False, before["now"])


async def hello(client: Client) -> PageSeen:
    return await client.page("/sample/hello")


async def test_a_doubted_date_is_told_on_every_page_to_those_who_lead(
    client: Client, clock: FixedClock
) -> None:
    as_coordinator(client)
    assert "Is the date right?" not in await hello(client)
    await jump(client, clock)
    page = await hello(client)
    assert "This machine says that it is 17 Dec 2026, 10:00" in page
    page = await page.follow("Look at the date")
    assert page.text.count("Is the date right?") == 1
    client.sign_in(token(Role.TILL, centre="c1"))
    assert "Is the date right?" not in await hello(client)
    client.sign_in("")
    assert "Is the date right?" not in await hello(client)


async def test_the_document_holds_it_under_a_tag_of_its_own(client: Client) -> None:
    paths = (await client.get("/sample/openapi.json")).json()["paths"]
    replay = paths["/sample/api/log/replay"]["post"]
    assert replay["tags"] == ["machine"]
    assert "Idempotency-Key" in [p["name"] for p in replay["parameters"]]
    assert "/sample/machine" not in paths
