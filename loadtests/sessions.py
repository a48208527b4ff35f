"""Start of running sessions for load tests."""

from typing import Any
from uuid import uuid4

import orjson

from loadtests.http_client import HttpConnection
from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import SyncMode
from synckairos.principal import Principal
from tests.integration.parts import Parts

ANONYMOUS = Principal.anonymous_admin()
DAY_MS = 86_400_000


async def start_session(parts: Parts, participants: int = 2) -> str:
    """Start a session whose participants have a budget of one day each. Return the session id."""
    new_participants = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(participants))
    return await parts.start_session(Create(SyncMode.PER_PARTICIPANT, new_participants))


async def start_session_by_rest(connection: HttpConnection, participant_id: str | None = None, **fields: Any) -> str:
    """Start a session of two participants with a budget of one day each. Return the session id.

    `participant_id` is the id of one participant; None uses a random id.
    """
    participants = [
        {"participant_id": each, "total_time_ms": DAY_MS} for each in (participant_id or str(uuid4()), str(uuid4()))
    ]
    body = {"sync_mode": "per_participant", "participants": participants, **fields}
    status, answer = await connection.post("/v1/sessions", orjson.dumps(body))
    assert status == 201, answer
    session_id: str = orjson.loads(answer)["data"]["session_id"]
    status, answer = await connection.post(f"/v1/sessions/{session_id}/start")
    assert status == 200, answer
    return session_id
