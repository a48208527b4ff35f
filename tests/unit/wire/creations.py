"""Request bodies of creations for tests, and functions that parse them."""

from typing import Any
from uuid import UUID

import pytest

from synckairos.clock.commands import Create
from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession

P = [str(UUID(int=at + 1)) for at in range(4)]
"""Ids of participants."""

G = [str(UUID(int=100 + at)) for at in range(3)]
"""Ids of groups."""

MIN = 60_000
"""Milliseconds in one minute."""


def make_participants(count: int = 2, **fields: Any) -> list[dict[str, Any]]:
    """Return participants of a request body, with 10 minutes each. `fields` changes or adds JSON members."""
    return [{"participant_id": P[at], "total_time_ms": 10 * MIN} | fields for at in range(count)]


def chess(**fields: Any) -> dict[str, Any]:
    """Return the request body of a game of two participants.

    `fields` changes or adds JSON members; `...` removes a member.
    """
    body: dict[str, Any] = {"sync_mode": "per_participant", "participants": make_participants()} | fields
    return {name: value for name, value in body.items() if value is not ...}


def spec(body: Any) -> Create:
    """Return a valid request body as a value of `clock`."""
    return parse_body(CreateSession, body).to_create()


def faults(body: Any) -> dict[str, str]:
    """Return the faults of an invalid request body: messages by paths."""
    with pytest.raises(ValidationFailed) as refused:
        parse_body(CreateSession, body)
    assert refused.value.message == "Request validation failed"
    return {fault["path"]: fault["message"] for fault in refused.value.details}
