"""AsyncAPI 3.0 of a service, made from its event models and reactions: never written by hand."""

from __future__ import annotations

from typing import Any

from contracts import COMPACTED, Event
from messaging.service import Service

_HEADERS = {
    "type": "object",
    "required": ["ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "era"],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "The event's id; known ids are dropped."},
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "The aggregate's id; equals the key."},
        "previous": {"type": "string", "description": "Id of the event before it of this key."},
        "cause": {"type": "string", "description": "Id of the event that this is a reaction to."},
        "correlation": {"type": "string"},
        "era": {"type": "string", "description": "Grows when the log was cut or made anew."},
        "order": {
            "type": "string",
            "format": "date-time",
            "description": "Only where the time is not later than that of the event before it of "
            "this key: one that is.",
        },
        "centre": {"type": "string"},
        "traceparent": {"type": "string"},
    },
}


def document(service: Service) -> dict[str, Any]:
    """The document of what a service sends and receives."""
    sent, heard = service.produced, service.consumed
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for action, events in (("send", sent), ("receive", heard)):
        for event in events:
            messages[event.ce_type()] = _message(event)
            channel = channels.setdefault(_id(event.TOPIC), _channel(event.TOPIC))
            reference = {"$ref": f"#/components/messages/{event.ce_type()}"}
            channel["messages"][event.ce_type()] = reference
            operation = operations.setdefault(
                f"{action}.{_id(event.TOPIC)}",
                {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{_id(event.TOPIC)}"},
                    "messages": [],
                },
            )
            operation["messages"].append(
                {"$ref": f"#/channels/{_id(event.TOPIC)}/messages/{event.ce_type()}"}
            )
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"Vicinato: {service.name}", "version": "1"},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _id(topic: str) -> str:
    return topic.replace(".", "_")


def _channel(topic: str) -> dict[str, Any]:
    policy = ["compact"] if topic in COMPACTED else ["delete"]
    return {
        "address": topic,
        "messages": {},
        "bindings": {"kafka": {"topic": topic, "topicConfiguration": {"cleanup.policy": policy}}},
    }


def _message(event: type[Event]) -> dict[str, Any]:
    payload: dict[str, Any] = (
        {"type": "null"} if event.TOMBSTONE else event.model_json_schema(mode="serialization")
    )
    return {
        "name": event.ce_type(),
        "title": event.__name__,
        "summary": " ".join((event.__doc__ or "").split()),
        "headers": _HEADERS,
        "payload": payload,
        "bindings": {"kafka": {"key": {"type": "string", "description": event.KEY}}},
    }
