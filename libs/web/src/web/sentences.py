"""What pydantic found wrong, said in plain words: one sentence for each of its error types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from runtime.refusals import N_
from web.translations import Translator

_TEXT_SHORT = N_("Write at least {min_length} characters.")
_TEXT_LONG = N_("Write at most {max_length} characters.")
_NUMBER = N_("Write a number.")
_WHOLE = N_("Write a whole number.")
_DATE = N_("Write a date, for example 31/12/2026.")
_TIME = N_("Write a time, for example 16:30.")
_MOMENT = N_("Write a date and a time.")
_CHOICE = N_("Choose one of the values offered.")
_TEXT = N_("Write some text.")
_YES_NO = N_("Answer yes or no.")
_OTHER = N_("This value is not valid.")
_EMAIL = N_("Write an e-mail address, for example maria@example.org.")

SENTENCES: Mapping[str, str] = {
    "missing": N_("Fill in this field."),
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "string_too_short": _TEXT_SHORT,
    "string_too_long": _TEXT_LONG,
    "string_pattern_mismatch": N_("This is not written in the form that is expected."),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": N_("This number is too large."),
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "decimal_max_digits": N_("This number is too large."),
    "decimal_max_places": N_("Write at most {decimal_places} digits after the comma."),
    "decimal_whole_digits": N_("This number is too large."),
    "greater_than": N_("Write a number greater than {gt}."),
    "greater_than_equal": N_("Write a number of {ge} or more."),
    "less_than": N_("Write a number smaller than {lt}."),
    "less_than_equal": N_("Write a number of {le} or less."),
    "multiple_of": N_("Write a multiple of {multiple_of}."),
    "bool_type": _YES_NO,
    "bool_parsing": _YES_NO,
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "date_past": N_("Write a date in the past."),
    "date_future": N_("Write a date in the future."),
    "time_type": _TIME,
    "time_parsing": _TIME,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "datetime_past": N_("Write a moment in the past."),
    "datetime_future": N_("Write a moment in the future."),
    "timezone_aware": N_("Write the time with its time zone."),
    "enum": _CHOICE,
    "literal_error": _CHOICE,
    "union_tag_invalid": _CHOICE,
    "too_short": N_("Give at least {min_length}."),
    "too_long": N_("Give at most {max_length}."),
    "list_type": N_("A list is expected here."),
    "tuple_type": N_("A list is expected here."),
    "dict_type": N_("An object is expected here."),
    "model_type": N_("An object is expected here."),
    "model_attributes_type": N_("An object is expected here."),
    "extra_forbidden": N_("This field is not known here."),
    "json_invalid": N_("This is not valid JSON."),
    "json_type": N_("This is not valid JSON."),
    "uuid_parsing": N_("This is not a valid identifier."),
    "url_parsing": N_("This is not a valid address."),
    "euros": N_("Write an amount, for example 1,50."),
}


def sentence(error: ErrorDetails | Mapping[str, Any], to: Translator) -> str:
    """One pydantic error in the reader's language.

    A type that is not listed comes from a validator of a service: its message is a msgid, with
    ``{placeholders}`` from the error's context. Pydantic's own English never reaches a reader.
    """
    kind = str(error["type"])
    context = dict(error.get("ctx") or {})
    raised = context.get("error")
    if kind in ("value_error", "assertion_error"):
        if kind == "value_error" and str(error["msg"]).startswith("value is not a valid email"):
            return to.say(_EMAIL)
        return to.say(str(raised) if raised is not None else _OTHER)
    if (known := SENTENCES.get(kind)) is not None:
        return to.say(known, **context)
    if "." in kind:
        return to.say(str(error["msg"]), **context)
    return to.say(_OTHER)


def field_of(location: Iterable[int | str]) -> str:
    """``lines.0.quantity`` of pydantic's location."""
    return ".".join(str(part) for part in location)
