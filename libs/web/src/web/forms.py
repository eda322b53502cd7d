"""Forms: from what was typed to a model, and back to the page with nothing lost.

An empty field counts as not filled in. Names with dots make rows: ``members.0.given_name`` is the
given name of the first of a list ``members``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError, to_json, to_jsonable_python
from starlette.datastructures import FormData

from messaging import Transaction
from runtime.refusals import Refusal
from web.sentences import field_of, sentence
from web.translations import Translator

if TYPE_CHECKING:
    from web.call import Call

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
S = TypeVar("S")

CSRF = "_csrf"
NONCE = "_nonce"
PASSWORD = "_password"  # noqa: S105 - the field's name
OWN = frozenset({CSRF, NONCE, PASSWORD})
"""Fields of the house, never part of a model: those that are hidden, and the password that is asked
for again; no digest of it is kept beside a command's answer."""

SEEN = "seen"
"""Hidden field of a form that changes what is there: what it showed. The form's model has it as
``seen: Json[...]``, the template as ``{{ seen(form) }}``, the command compares it with what holds.
"""

_AMOUNT = re.compile(r"^(-?)(\d{1,9}|\d{1,3}(?:\.\d{3})+)(?:,(\d{1,2}))?$")

_DAY = re.compile(r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})$")


def cents(typed: object) -> object:
    """Cents of an amount as people write it: ``1,50``, ``1.50``, ``€ 1.234,5``; ints stay."""
    if not isinstance(typed, str):
        return typed
    text = typed.replace("€", "").replace("\u00a0", "").replace(" ", "")
    if re.fullmatch(r"-?\d+\.\d{1,2}", text):
        text = text.replace(".", ",")
    found = _AMOUNT.match(text)
    if found is None:
        raise PydanticCustomError("euros", "not an amount")
    sign, whole, part = found.groups()
    amount = int(whole.replace(".", "")) * 100 + int((part or "0").ljust(2, "0"))
    return -amount if sign else amount


def _day(typed: object) -> object:
    """``31/12/2026``, as people write it where the browser has no calendar, becomes ISO."""
    found = _DAY.match(typed) if isinstance(typed, str) else None
    return f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}" if found else typed


Euros = Annotated[int, BeforeValidator(cents)]
"""A form field of money: typed in euros, held in whole cents. In JSON, cents are an int."""

Day = Annotated[date, BeforeValidator(_day)]
"""A form field of a date: from the browser's calendar, or typed as 31/12/2026."""


@dataclass
class Form(Generic[M]):
    """A form as it was sent (or is about to be shown).

    ``values`` holds every field as typed, ``errors`` a sentence by field; the key "" holds what
    belongs to no field.
    """

    call: Call
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    model: M | None = None

    @property
    def ok(self) -> bool:
        return self.model is not None and not self.errors

    @property
    def data(self) -> M:
        """The checked model. Only when the fields were right."""
        if self.model is None:
            raise ValueError("the form has errors: look at .ok first")
        return self.model

    @property
    def status(self) -> int:
        """200, or 422 when there is something to mend."""
        return 422 if self.errors else 200

    def refuse(self, refusal: Refusal) -> None:
        """Show a refusal of the domain at its field, or above the form."""
        said = self.call.say(refusal.sentence, **refusal.values)
        step = self.call.say(refusal.next_step, **refusal.values)
        self.errors[refusal.field or ""] = f"{said} {step}".strip()

    async def command(self, fn: Callable[[Transaction], T]) -> T | None:
        """Run a command if the form is right; a refusal comes back as an error of the form.

        Look at ``ok`` afterwards: redirect when it holds, else show the page again.
        """
        if not self.ok:
            return None
        return await self.attempt(self.call.command(fn))

    async def attempt(self, work: Awaitable[T]) -> T | None:
        """Await anything that may refuse; a refusal becomes an error of the form."""
        try:
            return await work
        except Refusal as refusal:
            if refusal.status >= 500 or refusal.reason.startswith("idempotency."):
                raise
            self.refuse(refusal)
            return None


def read(call: Call, sent: FormData, model: type[M], to: Translator) -> Form[M]:
    """The form of what was sent. Fields that the model does not know are kept, not checked."""
    values: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    lists = _list_fields(model)
    for name in dict.fromkeys(sent.keys()):
        if name in OWN:
            continue
        typed = [_clean(item) for item in sent.getlist(name)]
        values[name] = typed if name in lists else typed[-1]
        filled = [item for item in typed if item != ""]
        if name in lists:
            _place(nested, name, filled)
        elif filled:
            _place(nested, name, filled[-1])
    form = Form[M](call, values)
    try:
        form.model = model.model_validate(_listed(nested))
    except ValidationError as error:
        for found in error.errors(include_url=False):
            form.errors.setdefault(_name_of(found["loc"], nested, values), sentence(found, to))
    except Refusal as refusal:
        form.refuse(refusal)
    return form


def initial(model: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Values to show first, from a model or a mapping."""
    return model.model_dump() if isinstance(model, BaseModel) else dict(model)


def showing(shown: object, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Values of a form that changes what is there, with what it shows in ``SEEN``.

    ``shown`` is a model, dataclass or mapping, each field of it a field of the form; where the form
    has other fields (rows), they are ``values``.
    """
    fields = _fields(shown) if values is None else values
    return {**fields, SEEN: to_json(shown).decode()}


def renew(
    form: Form[M],
    now: S,
    changed_meanwhile: Refusal,
    rows: Callable[[S, M | None], dict[str, Any]] | None = None,
) -> None:
    """When somebody else was faster: what was typed stays, what was not touched is shown as it is
    now, so that the next save undoes nothing. A form that does not say what it showed is begun
    anew. Any other form stays as it is.

    ``now`` is what the form would show if it were opened, of the type of its ``seen``;
    ``changed_meanwhile`` is told with it. A form with rows gives ``rows``: its values from what is
    there now, and, if not None, from what was typed; errors at fields go, since a row may have
    another number by now.
    """
    if SEEN in form.errors:
        form.values, form.errors = showing(now) if rows is None else rows(now, None), {}
    elif form.model is None or (was := getattr(form.model, SEEN)) == now:
        return
    elif rows is None:
        kept = untouched(_fields(form.model), _fields(was), _fields(now))
        form.values |= showing(now, kept)
    else:
        form.values, form.errors = rows(now, form.model), {}
    form.refuse(changed_meanwhile)


def untouched(
    typed: Mapping[str, Any], was: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of ``now`` that were sent as they had been shown, or not at all."""
    return {
        name: value
        for name, value in now.items()
        if name not in typed or _same(typed[name], was.get(name))
    }


def _same(typed: Any, shown: Any) -> bool:
    """A browser sends lists in the order of their boxes, and ends lines in its own way."""
    if isinstance(typed, list) and isinstance(shown, list):
        return all(one in shown for one in typed) and all(one in typed for one in shown)
    if isinstance(typed, str) and isinstance(shown, str):
        return typed.splitlines() == shown.splitlines()
    return bool(typed == shown)


def _fields(shown: object) -> dict[str, Any]:
    """The fields of a model, dataclass or mapping as JSON has them."""
    fields: dict[str, Any] = to_jsonable_python(shown)
    return fields


def _clean(item: Any) -> Any:
    """Typed text without what nobody types: outer space, NUL (which PostgreSQL refuses)."""
    return item.replace("\0", "").strip() if isinstance(item, str) else item


def _list_fields(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(
        info.alias or name
        for name, info in model.model_fields.items()
        if _is_scalar_list(info.annotation)
    )


def _is_scalar_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_scalar_list(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return any(_is_scalar_list(part) for part in get_args(annotation))
    if origin not in (list, tuple, set, frozenset):
        return False
    inner = get_args(annotation)[0]
    return not (isinstance(inner, type) and issubclass(inner, BaseModel))


def _place(into: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path[:4]:
        below = into.setdefault(part, {})
        if not isinstance(below, dict):  # "a" and "a.b" were both sent: the first one stands
            return
        into = below
    into[last] = value


def _listed(value: Any) -> Any:
    """Rows of {"0": …, "2": …} become a list in the order of their numbers."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isascii() and key.isdigit() and len(key) < 6 for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(item) for key, item in value.items()}


def _name_of(location: tuple[int | str, ...], nested: Any, values: Mapping[str, Any]) -> str:
    """The name of the field at fault as it was typed.

    Rows left empty are not in the model, so its row numbers are led back to those of the form; the
    item number of a plain list and the tags of a union are left out.
    """
    names: list[str] = []
    for part in location:
        if isinstance(nested, dict) and isinstance(part, int):
            part = sorted(nested, key=int)[part]
        nested = nested.get(str(part)) if isinstance(nested, dict) else None
        names.append(str(part))
    for length in range(len(names), 0, -1):
        if field_of(names[:length]) in values:
            return field_of(names[:length])
    return field_of(names)
