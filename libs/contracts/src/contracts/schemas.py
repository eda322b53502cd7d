"""JSON Schemas and golden examples of every event, committed and never deleted.

``python -m contracts.schemas`` writes what is new: a schema for each event type, and a first golden
example. What is there already is only rewritten when the change is one that readers bear (a new
field with a default, another description); else the version must go up (DESIGN §3.10).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

import contracts
from contracts.event import Event, event_type

FOLDER = Path(contracts.__file__).resolve().parents[2] / "schemas"
GOLDEN = FOLDER.parent / "golden"

_MOMENT = datetime(2026, 11, 16, 9, 30, tzinfo=UTC)


def schema(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's body, as it is sent."""
    made = event.model_json_schema(mode="serialization")
    made["$id"] = f"{event.ce_type()}.json"
    made["x-topic"], made["x-key"] = event.TOPIC, event.KEY
    if event.TOMBSTONE:
        made["x-tombstone"] = True
    return made


def breaks(old: dict[str, Any], new: dict[str, Any], where: str = "") -> Iterator[str]:
    """What in `new` a reader or a writer of `old` would not bear, in words."""
    for name in ("x-topic", "x-key", "x-tombstone"):
        if old.get(name) != new.get(name):
            yield f"{where}{name} changed"
    yield from _object_breaks(old, new, where)
    definitions = new.get("$defs", {})
    for name, definition in old.get("$defs", {}).items():
        if name not in definitions:
            yield f"{where}{name} is gone"
        else:
            yield from _object_breaks(definition, definitions[name], f"{name}.")


def _object_breaks(old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    was, now = old.get("properties", {}), new.get("properties", {})
    for name, field in was.items():
        if name not in now:
            yield f"{where}{name} was removed"
        elif _type(field) != _type(now[name]):
            yield f"{where}{name} changed its type"
        elif "default" in field and now[name].get("default", ...) != field["default"]:
            yield f"{where}{name} changed its default, by which events without it are read"
    for name in now.keys() - was.keys():
        if "default" not in now[name]:
            yield f"{where}{name} is new and required"
    if changed := set(old.get("enum", ())) ^ set(new.get("enum", ())):
        yield f"{where}values came or went: {', '.join(sorted(changed))}"


def _type(field: Any) -> Any:
    """What a field is, without descriptions, titles and defaults."""
    if isinstance(field, dict):
        dropped = ("description", "title", "default", "examples")
        return {k: _type(v) for k, v in sorted(field.items()) if k not in dropped}
    if isinstance(field, list):
        return [_type(f) for f in field]
    return field


def example(event: type[Event]) -> Event:
    """An event with every field filled, the same in each run."""
    return event.model_validate(_filled(event))


def _filled(model: type[BaseModel]) -> dict[str, Any]:
    return {name: _value(name, field) for name, field in model.model_fields.items()}


def _value(name: str, field: FieldInfo) -> Any:
    return _of(name, field.annotation, field.metadata)


def _of(name: str, kind: Any, metadata: list[Any]) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        return _of(name, inner, [*metadata, *more])
    if origin in (Union, UnionType):
        return _of(name, next(a for a in get_args(kind) if a is not NoneType), metadata)
    if origin is tuple:
        return [_of(name, get_args(kind)[0], [])]
    if origin is dict:
        named, held = get_args(kind)
        return {_of("key", named, []): _of(name, held, [])}
    if origin is Literal:
        return get_args(kind)[0]
    if kind in (datetime, AwareDatetime):
        return _MOMENT.isoformat()
    if kind is date:
        return "2019-04-12"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _filled(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind)).value
    if kind is bool:
        return True
    if kind is int:
        least = [m.ge for m in metadata if isinstance(m, annotated_types.Ge)]
        return max(3, *(int(str(n)) for n in least)) if least else 3
    return _TEXTS.get(name, f"{name}-1")


_TEXTS = {
    "name": "Bottega del pane",
    "title": "Spazio compiti",
    "given_name": "Amina",
    "family_name": "Esempio",
    "language": "ar",
    "languages": "it",
    "email": "amina@example.org",
    "phone": "+390200000000",
    "time_zone": "Europe/Rome",
    "region": "IT-MI",
    "number": "100000000009",
    "token_digest": "0" * 64,
    "public_key": "A" * 43,
    "algorithm": "EdDSA",
}


def write() -> list[str]:
    """Write what is new; returns what must not be changed without a new version."""
    refused: list[str] = []
    FOLDER.mkdir(exist_ok=True)
    for event in contracts.events():
        path = FOLDER / f"{event.ce_type()}.json"
        made = schema(event)
        if path.exists():
            faults = list(breaks(json.loads(path.read_text("utf-8")), made))
            if faults:
                refused += [f"{event.ce_type()}: {fault}" for fault in faults]
                continue
        path.write_text(_text(made), "utf-8")
        golden = GOLDEN / event.ce_type()
        if not golden.exists() and not event.TOMBSTONE:
            golden.mkdir(parents=True)
            (golden / "full.json").write_text(
                _text(example(event).model_dump(mode="json")), "utf-8"
            )
    return refused


def goldens() -> Iterator[tuple[type[Event] | None, Path]]:
    """Every golden example with its model; None when nobody knows the type any more."""
    for path in sorted(GOLDEN.glob("*/*.json")):
        yield event_type(path.parent.name), path


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    faults = write()
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    raise SystemExit(bool(faults))
