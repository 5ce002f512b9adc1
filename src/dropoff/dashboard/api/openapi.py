"""What FastAPI cannot see for its OpenAPI document: the door `/v1/events`, funnels of one's own, summaries in words."""

import re
from typing import Any

import msgspec
from fastapi import FastAPI

from dropoff.events import Envelope
from dropoff.project.funnels import Funnel


def describe_what_is_no_model(app: FastAPI) -> None:
    """Events go in at an application of its own, and funnels are read as structs; who reads this document looks for
    both here."""
    _, structs = msgspec.json.schema_components([Funnel], ref_template="#/components/schemas/{name}")
    written = app.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        document["paths"].setdefault("/v1/events", _DOOR)
        document["components"]["schemas"].update(structs)
        for operation in (one for ways in document["paths"].values() for one in ways.values()):
            if "servers" not in operation:  # FastAPI takes the name of the function
                operation["summary"] = _SENTENCE.split(operation["description"], maxsplit=1)[0].removesuffix(".")
        return document

    app.openapi = openapi


_SENTENCE = re.compile(r"(?<=\.)\s")
_INSTANT = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}
_FIELD_TYPES = {"timestamp": _INSTANT, "sent_at": _INSTANT, "properties": {"type": "object"}} | {
    "sequence": {"type": "integer"}, "revision": {"type": "integer"}, "is_test": {"type": "boolean"},
}  # fmt: skip
_EVENT = {
    "type": "object",
    "required": ["event_type"],
    "properties": {name: _FIELD_TYPES.get(name, {"type": "string"}) for name in Envelope.__struct_fields__},
    "example": {
        "event_type": "message_received", "conversation_id": "abc123", "channel": "sms",
        "timestamp": "2024-01-15T10:00:00Z", "properties": {"content": "Tell me more", "intent": "interested"},
    },
}  # fmt: skip
_REFUSED = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
_COUNTS = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer"}, "rejected": {"type": "integer"},
        "reasons": {"type": "object", "additionalProperties": {"type": "integer"}},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}  # fmt: skip
_DOOR = {
    "post": {
        "servers": [{"url": "/"}],
        "summary": "Send events",
        "description": "One event, an array of them, or a line each (application/x-ndjson); gzip is fine. The answer "
        "comes when they are on disk. Each event that is refused is named by its index, field and reason.",
        "operationId": "send_events",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "202": {"description": "Taken", "content": {"application/json": {"schema": _COUNTS}}},
            **{
                status: {"description": text, **_REFUSED}
                for status, text in {
                    "400": "Nothing could be taken", "401": "No write key", "413": "Too large: send it in parts",
                    "415": "Not JSON, NDJSON or gzip", "429": "Too much is waiting: see Retry-After",
                    "503": "Not everything was taken: see Retry-After, and send it again",
                }.items()
            },
        },
    },
}  # fmt: skip
