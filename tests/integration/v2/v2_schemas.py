"""JSON Schemas of v2's answers and socket messages, with the strictness of v2's own clients.

They are written by v2's published schemas, independently of the models of this project. Members that v2 does not know
are allowed: its clients ignore them.
"""

from typing import Any

import jsonschema_rs

Json = dict[str, Any]

_INSTANT: Json = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_INTEGER: Json = {"type": "integer"}
_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(required: Json, **optional: Json) -> Json:
    return {"type": "object", "properties": required | optional, "required": list(required)}


PARTICIPANT = _object(
    {
        "participant_id": _TEXT,
        "participant_index": _INTEGER,
        "total_time_ms": _INTEGER,
        "time_used_ms": _INTEGER,
        "time_remaining_ms": _INTEGER,
        "cycle_count": _INTEGER,
        "is_active": _FLAG,
        "has_expired": _FLAG,
    },
    group_id=_TEXT,
)

SESSION = _object(
    {
        "session_id": _TEXT,
        "sync_mode": {"enum": ["per_participant", "per_cycle", "per_group", "global", "count_up"]},
        "status": {"enum": ["pending", "running", "paused", "expired", "completed", "cancelled"]},
        "version": _INTEGER,
        "participants": {"type": "array", "items": PARTICIPANT},
        "active_participant_id": _nullable(_TEXT),
        "total_time_ms": _INTEGER,
        "time_per_cycle_ms": _nullable(_INTEGER),
        "cycle_started_at": _nullable(_INSTANT),
        "session_started_at": _nullable(_INSTANT),
        "session_completed_at": _nullable(_INSTANT),
        "created_at": _INSTANT,
        "updated_at": _INSTANT,
    },
    increment_ms=_INTEGER,
    max_time_ms=_INTEGER,
)

SWITCH = _object(
    {
        "session_id": _TEXT,
        "active_participant_id": _TEXT,
        "cycle_started_at": _INSTANT,
        "participants": {"type": "array", "items": PARTICIPANT},
        "status": _TEXT,
    },
    expired_participant_id=_TEXT,
)
"""The answer to a switch of a session that goes on."""

ERROR = _object({"error": _object({"code": _TEXT, "message": _TEXT})})

_NAMED: Json = {"sessionId": _TEXT, "timestamp": _INTEGER}

MESSAGES = {
    "CONNECTED": _object(_NAMED),
    "STATE_SYNC": _object(_NAMED | {"state": SESSION}),
    "STATE_UPDATE": _object(_NAMED | {"state": SESSION}),
    "SESSION_DELETED": _object(_NAMED),
    "PONG": _object({"timestamp": _INTEGER}),
    "ERROR": _object({"code": _TEXT, "message": _TEXT}),
}
"""The messages of v2's sockets, by type."""

_VALIDATORS = {
    name: jsonschema_rs.Draft202012Validator(schema)
    for name, schema in {"session": SESSION, "switch": SWITCH, "error": ERROR, **MESSAGES}.items()
}


def check_session(session: Json) -> Json:
    """Check a session of an answer or message, and return it."""
    _VALIDATORS["session"].validate(session)
    return session


def check_switch(answer: Json) -> Json:
    """Check the data of the answer to a switch, and return it."""
    _VALIDATORS["switch"].validate(answer)
    return answer


def check_error(answer: Json) -> Json:
    """Check a refusal, and return its member `error`."""
    assert "data" not in answer
    _VALIDATORS["error"].validate(answer)
    error: Json = answer["error"]
    return error


def check_message(message: Json) -> Json:
    """Check a message of the server, and return it."""
    _VALIDATORS[message["type"]].validate(message)
    return message
