"""The form of a change that somebody else was faster with: nothing is lost, nothing is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Json
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from runtime.refusals import Refusal
from web import Call, Caller, Euros, Form, forms
from web.testing import Client

MEANWHILE = Refusal("thing.changed_meanwhile", "It has changed meanwhile.", "Look again.")
TOLD = "It has changed meanwhile. Look again."


class Thing(BaseModel):
    """What the form shows of a thing."""

    name: str = ""
    price: Euros = 0
    tags: list[str] = []
    note: str = ""


class Edit(Thing):
    """The form of a thing that is there."""

    password: str = ""
    seen: Json[Thing]


@dataclass
class Sign:
    """What the form shows of a sign."""

    text: str
    colour: str


class SignEdit(BaseModel):
    """The form of a sign that is there."""

    text: str
    colour: str
    seen: Json[Sign]


class RulesEdit(BaseModel):
    """The form of rules that are no model of ours."""

    days: int
    most: int
    seen: Json[dict[str, Any]]


class Row(BaseModel):
    id: str = ""
    name: str


class Rows(BaseModel):
    rows: list[Row]


class RowsEdit(Rows):
    """A form with rows."""

    seen: Json[Rows]


BEFORE = Thing(name="bread", price=100, tags=["old", "red"], note="one\ntwo")


@pytest.fixture
def call(client: Client) -> Call:
    return Call(
        Request({"type": "http", "app": client.app, "headers": [], "query_string": b"lang=en"}),
        Caller(),
    )


def sent(call: Call, shown: dict[str, Any], model: type[Any] = Edit, **typed: Any) -> Form[Any]:
    """The form of ``shown`` as it comes back with what was typed; None: the field is missing."""
    pairs: list[tuple[str, str | UploadFile]] = [
        (name, str(item))
        for name, value in (shown | typed).items()
        for item in (value if isinstance(value, list) else [value])
        if value is not None
    ]
    return forms.read(call, FormData(pairs), model, call.to)


def test_what_was_typed_stays_and_the_rest_is_as_it_is_now(call: Call) -> None:
    shown = {**forms.showing(BEFORE), "price": "1,00"}
    form = sent(call, shown, name="cake", password="secret", price="1,5")
    assert form.ok
    now = Thing(name="roll", price=200, tags=["new"], note="three")
    forms.renew(form, now, MEANWHILE)
    assert form.errors == {"": TOLD}
    assert (form.values["name"], form.values["price"]) == ("cake", "1,5"), "as it was typed"
    assert (form.values["tags"], form.values["note"]) == (["new"], "three")
    assert form.values["password"] == "secret", "a field that shows nothing stays"
    again = sent(call, form.values)
    assert again.data.seen == now, "the next save knows what this one shows"


def test_lists_and_lines_that_only_a_browser_arranged_were_not_touched(call: Call) -> None:
    shown = {**forms.showing(BEFORE), "price": "1,00"}
    form = sent(call, shown, tags=["red", "old"], note="one\r\ntwo")
    forms.renew(form, Thing(name="bread", price=100, tags=["new"], note="three"), MEANWHILE)
    assert (form.values["tags"], form.values["note"]) == (["new"], "three")


def test_a_form_of_what_still_holds_is_left_as_it_is(call: Call) -> None:
    form = sent(call, {**forms.showing(BEFORE), "price": "1,00"}, name="cake")
    values = dict(form.values)
    forms.renew(form, BEFORE, MEANWHILE)
    assert form.ok
    assert form.values == values


def test_a_form_that_has_other_errors_keeps_them(call: Call) -> None:
    shown = {**forms.showing(BEFORE), "price": "1,00"}
    form = sent(call, shown, price="a lot")
    forms.renew(form, Thing(), MEANWHILE)
    assert list(form.errors) == ["price"], "nothing is compared before the fields are right"
    assert form.values["name"] == "bread"
    form = sent(call, shown)
    form.errors["name"] = "No such name."
    forms.renew(form, Thing(), MEANWHILE)
    assert form.errors == {"name": "No such name.", "": TOLD}


def test_a_blank_form_is_left_as_it_is(call: Call) -> None:
    form = call.blank(Edit, forms.showing(BEFORE))
    forms.renew(form, Thing(), MEANWHILE)
    assert (form.values, form.errors) == (forms.showing(BEFORE), {})


@pytest.mark.parametrize("seen", [None, "", "{", "[]", '{"price": "a lot"}'])
def test_a_form_that_does_not_say_what_it_showed_is_begun_anew(
    call: Call, seen: str | None
) -> None:
    form = sent(call, {"name": "cake", "price": "a lot"}, seen=seen)
    forms.renew(form, BEFORE, MEANWHILE)
    assert form.values == forms.showing(BEFORE)
    assert form.errors == {"": TOLD}


def test_what_is_shown_may_be_a_dataclass_or_a_mapping(call: Call) -> None:
    form: Form[Any] = sent(call, forms.showing(Sign("open", "red")), SignEdit, text="shut")
    forms.renew(form, Sign("away", "blue"), MEANWHILE)
    assert (form.values["text"], form.values["colour"]) == ("shut", "blue")
    form = sent(call, forms.showing({"days": 2, "most": 5}), RulesEdit, days=3)
    forms.renew(form, {"days": 4, "most": 6}, MEANWHILE)
    assert (form.values["days"], form.values["most"]) == ("3", 6)


@pytest.mark.parametrize("was", [{}, {"tags": [["old"]]}, {"tags": [{}]}, {"tags": "old"}])
def test_what_was_not_shown_counts_as_typed(was: dict[str, Any]) -> None:
    assert forms.untouched({"tags": ["old"]}, was, {"tags": ["new"]}) == {}


def test_a_field_that_was_not_sent_is_as_it_is_now() -> None:
    assert forms.untouched({}, {"name": "bread"}, {"name": "cake"}) == {"name": "cake"}


def test_a_form_with_rows_says_itself_which_row_is_which(call: Call) -> None:
    def values(now: Rows, typed: RowsEdit | None = None) -> dict[str, Any]:
        names = {row.id: row.name for row in typed.rows} if typed else {}
        return forms.showing(
            now,
            {
                f"rows.{place}.{name}": value
                for place, row in enumerate(now.rows)
                for name, value in {"id": row.id, "name": names.get(row.id, row.name)}.items()
            },
        )

    before = Rows(rows=[Row(id="a", name="Ann"), Row(id="b", name="Bea")])
    now = Rows(rows=[Row(id="b", name="Bea"), Row(id="c", name="Cleo")])
    form = sent(call, values(before), RowsEdit, **{"rows.1.name": "Beate"})
    form.errors["rows.0.name"] = "Not this name."
    forms.renew(form, now, MEANWHILE, values)
    assert form.errors == {"": TOLD}, "the row at fault may be another by now"
    kept = Rows(rows=[Row(id="b", name="Beate"), Row(id="c", name="Cleo")])
    assert form.values == values(now, RowsEdit(rows=kept.rows, seen=now.model_dump_json()))
    form = sent(call, values(before), RowsEdit, seen="")
    forms.renew(form, now, MEANWHILE, values)
    assert (form.values, form.errors) == (values(now), {"": TOLD})
