"""Names, dates and contacts that occur nowhere else are planted, a short day is lived, and every
file of the data folder is searched: they lie where they may and nowhere else. Then the household is
erased, Kafka cleans its log, and they are nowhere."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from house import CENTRE, FIRST_PASSWORD, PASSWORD, House, open_house

from contracts import people
from runtime.testing import eventually

from .planting import PLACES, Words, compacts_soon, in_files, in_rows, on_the_bus

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("planted"), pytest.mark.timeout(600)]

GIVEN, FAMILY, BORN = "Zorblina", "Quxhausen", "1987-03-13"
CHILD, CHILD_BORN = "Wuffeline", "2017-02-27"
PHONE, EMAIL = "+393477712345", "zorblina.quxhausen@planted.example"
PERSON = (GIVEN, FAMILY, BORN, CHILD, CHILD_BORN, PHONE[3:], EMAIL)
NOTE = "sorrowful-zarathustrix"
ACCOUNT, ACCOUNT_NAME = "grimbald.accountant@planted.example", "Grimbald Contabile"
REFUSED = ("Refusina", "Negatelli", "refusina@planted.example", "1871-05-05")
GUESSED, GUESS = "stranger.guessing@planted.example", "xyzzy-never-a-password"
SEARCHED = "Searchinella"

WORDS_OF = {
    "cards": PERSON,
    "activities": PERSON,
    "notifications": PERSON,
    "network": (*PERSON, NOTE),
    "identity": (ACCOUNT, ACCOUNT_NAME),
    "shop": (),
}
STORES = {service: (PLACES[service], words) for service, words in WORDS_OF.items()}
"""Who may keep what, in which tables; a service may keep less."""

ALL = Words(
    [
        *PERSON,
        NOTE,
        ACCOUNT,
        ACCOUNT_NAME,
        *REFUSED,
        GUESSED,
        GUESS,
        FIRST_PASSWORD,
        PASSWORD,
        SEARCHED,
    ]
)


@pytest.fixture(scope="module")
def planted() -> Iterator[House]:
    """A house of its own: nobody else's names are in its folder."""
    with open_house() as made:
        yield made


@pytest.fixture(scope="module")
def household(planted: House) -> dict[str, Any]:
    """A short day around one household, with all that goes wrong in it."""
    house = planted
    asked = {
        "zone": "Satta",
        "consents": ["registration", "messages", "referrals"],
        "members": [
            {
                "given_name": GIVEN,
                "family_name": FAMILY,
                "birth_date": BORN,
                "phone": PHONE,
                "email": EMAIL,
                "language": "it",
            },
            {"given_name": CHILD, "family_name": FAMILY, "birth_date": CHILD_BORN},
        ],
    }
    headers = {
        "Authorization": f"Bearer {house.tokens['reception']}",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    for _ in range(2):  # the second is a repetition, whose answer is kept
        made = house.http.post("/cards/api/households", json=asked, headers=headers)
        assert made.status_code == 201, made.text
    family: dict[str, Any] = made.json()
    where = f"/cards/api/households/{family['id']}"
    family["card"] = house.post(f"{where}/cards", {}, by="reception")
    house.quiet()
    house.post("/cards/api/households/search", {"text": SEARCHED}, by="reception")
    house.post("/cards/api/households/search", {"text": GIVEN}, by="reception")
    house.sell(house.product(350, 5), card=family["card"], cash=350)
    session = house.session(capacity=1)
    people_ids = [member["id"] for member in family["members"]]
    house.post(
        f"/activities/api/sessions/{session}/sign-ups",
        {"person_ids": people_ids[1:]},
        by="educator",
    )
    asked_of = house.post("/network/api/organisations", {"name": "Auser"}, by="case_worker")
    referral = house.post(
        "/network/api/referrals",
        {
            "household_id": family["id"],
            "area": "work",
            "to_organisation_id": asked_of["id"],
            "note": f"{NOTE}, {GIVEN}",
        },
        by="case_worker",
    )
    house.get(f"/network/api/referrals/{referral['id']}", by="case_worker")
    _what_is_refused(house, where)
    house.post(
        "/identity/api/accounts",
        {
            "email": ACCOUNT,
            "name": ACCOUNT_NAME,
            "password": FIRST_PASSWORD,
            "roles": ["family"],
            "household_id": family["id"],
            "centre_id": CENTRE,
        },
        by="reception",
    )
    house.choose(ACCOUNT)
    house.token(ACCOUNT, PASSWORD)
    house.quiet()
    eventually(
        lambda: house.mailbox.recipients >= {EMAIL}, within=60, why="the family is written to"
    )
    return family


def _what_is_refused(house: House, where: str) -> None:
    """Input that is wrong in every place that takes what people are called."""
    given, family, email, born = REFUSED
    wrong = {"given_name": given, "family_name": family, "email": email, "birth_date": born}
    for body in (
        {"members": [wrong | {"phone": f"not a phone {given}"}], "zone": family},
        {"members": [wrong | {"birth_date": f"{born}-{given}"}], given: family},
        {"members": [wrong, wrong | {"holder": family}], "consents": [given]},
        {"members": [wrong | {"language": family * 50}]},
    ):
        house.post("/cards/api/households", body, by="reception", status=422)
        house.ask("PATCH", where, "reception", body, status=422)
    house.post("/cards/api/households", {"members": wrong}, by="till", status=403)
    house.ask("POST", "/cards/api/households", "", {"members": wrong}, status=401)
    account = {"email": GUESSED, "password": GUESS, "roles": ["family", given], "name": family}
    house.post("/identity/api/accounts", account, by="reception", status=422)
    for _ in range(7):  # the last ones are too many
        house.http.post("/identity/api/tokens", json={"email": GUESSED, "password": GUESS})
        house.http.post(
            "/identity/sign-in",
            data={"email": GUESSED, "password": GUESS, "next": f"/cards/me?{given}={email}"},
        )
    house.http.get(f"/cards/households?q={given}+{family}&email={email}")
    house.http.get(f"/cards/{given}/{family}?{email}", headers={"Referer": f"http://x/?{email}"})
    house.http.get(
        "/shop/till", headers={"User-Agent": f"{given} {email}", "X-Correlation-ID": email}
    )
    house.http.post("/cards/api/households", content=f'{{"members": "{given}'.encode())


@dataclass
class Found:
    """The planted words by table of each store, by topic, by file."""

    rows: dict[str, dict[str, set[str]]]
    bus: dict[str, set[str]]
    files: dict[str, set[str]]


def _search(house: House) -> Found:
    return Found(
        {name: in_rows(house.folder.stores / f"{name}.db", ALL) for name in STORES},
        on_the_bus(house, ALL),
        in_files(house.folder.root, ALL),
    )


@pytest.fixture(scope="module")
def lived(planted: House, household: dict[str, Any]) -> Found:
    return _search(planted)


@pytest.fixture(scope="module")
def yesterday(planted: House, lived: Found, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup that was taken while everybody was still there."""
    path = tmp_path_factory.mktemp("backups") / "yesterday"
    done = planted.command("backup", str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def erased(planted: House, household: dict[str, Any], lived: Found, yesterday: Path) -> Found:
    """The household is erased; an hour later its log is cleaned. A start empties what SQLite writes
    ahead, as does every hour."""
    compacts_soon(planted, people.TOPIC)
    where = f"/cards/api/households/{household['id']}"
    planted.ask("DELETE", where, "coordinator", status=204)
    planted.quiet()
    planted.clock.play(planted.clock.offset() + timedelta(minutes=71))
    eventually(
        lambda: not on_the_bus(planted, ALL), within=120, why="Kafka cleans its log of people"
    )
    planted.stop()
    planted.start()
    eventually(lambda: not in_files(planted.folder.root, ALL), within=60, why="no file has them")
    return _search(planted)


def test_who_is_erased_is_nowhere(erased: Found) -> None:
    assert not any(erased.rows.values())
    assert erased.bus == {}
    assert erased.files == {}


@pytest.mark.chaos
def test_who_is_erased_is_nowhere_when_the_backup_of_yesterday_comes_back(
    planted: House, yesterday: Path, erased: Found
) -> None:
    """The stores that are put back hear of the erasure from the bus; an hour later no file has the
    people any more."""
    planted.stop()
    done = planted.command("restore", str(yesterday))
    assert done.returncode == 0, done.stdout + done.stderr
    planted.start()
    planted.quiet()
    planted.clock.play(planted.clock.offset() + timedelta(minutes=71))
    eventually(lambda: not on_the_bus(planted, ALL), within=120, why="nobody tells of them again")
    planted.stop()
    planted.start()
    eventually(lambda: not in_files(planted.folder.root, ALL), within=60, why="no file has them")
    found = _search(planted)
    assert not any(found.rows.values())
    assert found.bus == found.files == {}


def test_people_are_found_where_they_may_be_and_nowhere_else(lived: Found) -> None:
    kept = lived.rows
    for name, (tables, words) in STORES.items():
        assert set(kept[name]) <= tables, name
        assert set().union(*kept[name].values()) <= set(words), name
    assert kept["cards"]["person"] == set(PERSON), "the search itself finds what is there"
    assert kept["network"]["referral_text"] == {NOTE, GIVEN}
    assert kept["identity"]["account"] == {ACCOUNT, ACCOUNT_NAME}

    assert lived.bus == {people.TOPIC: set(PERSON)}
    for path, words in lived.files.items():
        part = Path(path)
        if part.parts[0] == "stores":
            assert words <= set(STORES[part.name.partition(".")[0]][1]), path
        else:
            assert part.parts[0] == "kafka", f"{words} in {path}"
            assert part.parent.name.startswith(f"{people.TOPIC}-"), f"{words} in {path}"
            assert words <= set(PERSON), path
    assert any(part.startswith("kafka") for part in lived.files), "it finds what is on the bus"
