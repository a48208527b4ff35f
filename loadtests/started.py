"""A session that runs, for the load tests that need one."""

from typing import Any
from uuid import uuid4

import orjson

from loadtests.http_client import HttpConnection
from synckairos.clock.commands import Create, NewParticipant, Start
from synckairos.clock.model import SyncMode
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.parts import Parts

NOBODY = Principal()
DAY_MS = 86_400_000


async def started(parts: Parts, participants: int = 2) -> str:
    """Start a session of some participants with a day each; return its id."""
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(participants))
    spec = Create(SyncMode.PER_PARTICIPANT, people)
    session_id = (await parts.sessions.create(CreateRequest(NOBODY, spec))).session.session_id
    await parts.sessions.execute(CommandRequest(NOBODY, session_id, Start(), "start"))
    return session_id


async def started_by_rest(connection: HttpConnection, person: str | None = None, **fields: Any) -> str:
    """Start a session of two participants with a day each, `person` one of them; return its id."""
    participants = [
        {"participant_id": each, "total_time_ms": DAY_MS} for each in (person or str(uuid4()), str(uuid4()))
    ]
    body = {"sync_mode": "per_participant", "participants": participants, **fields}
    status, answer = await connection.post("/v1/sessions", orjson.dumps(body))
    assert status == 201, answer
    session_id: str = orjson.loads(answer)["data"]["session_id"]
    status, answer = await connection.post(f"/v1/sessions/{session_id}/start")
    assert status == 200, answer
    return session_id
