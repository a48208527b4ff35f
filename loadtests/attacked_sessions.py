"""Sessions of load tests with an attacker: those of the clients, and those that the attacker uses."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from loadtests.http_client import HttpConnection
from synckairos.config import Settings
from synckairos.store.connect import make_redis_client
from synckairos.store.keys import Keys
from tests.processes import Process

CLIENTS = 100
LARGE_SESSIONS = 20
LARGE_SWITCHES = 198
NAME_BYTES = 300


@dataclass(frozen=True, slots=True)
class Victims:
    """The ids that the attacker uses: a large session, a participant of it, and a session with an invalid document."""

    large_id: str
    participant_id: str
    broken_id: str


def large_session() -> dict[str, Any]:
    """Return the body of a request that creates a session whose document has nearly the maximum size."""
    participants = [
        {
            "participant_id": str(uuid4()),
            "participant_index": index,
            "total_time_ms": 3_600_000,
            "display_name": "é" * (NAME_BYTES // 2),
        }
        for index in range(1000)
    ]
    return {
        "sync_mode": "per_participant",
        "participants": participants,
        "metadata": {"text": "x" * 32_000},
    }


def small_session() -> dict[str, Any]:
    """Return the body of a request that creates a session of two participants with much time."""
    participants = [
        {"participant_id": str(uuid4()), "participant_index": index, "total_time_ms": 86_400_000} for index in range(2)
    ]
    return {"sync_mode": "per_participant", "participants": participants, "session_id": str(uuid4())}


async def create_running_session(connection: HttpConnection, body: dict[str, Any]) -> str:
    """Create and start a session. Return its id."""
    status, answer = await connection.post("/v1/sessions", orjson.dumps(body))
    assert status == 201, answer[:300]
    session_id: str = orjson.loads(answer)["data"]["session_id"]
    status, answer = await connection.post(f"/v1/sessions/{session_id}/start")
    assert status == 200, answer[:300]
    return session_id


async def create_sessions(server: Process) -> tuple[list[str], Victims]:
    """Create a small running session for each client, and the sessions of the attacker.

    Return the ids of the small sessions, and those of the attacker. The document of `broken_id` is still valid.
    """
    connection = await HttpConnection.open(server.base_url)
    ids = [await create_running_session(connection, small_session()) for _ in range(CLIENTS)]
    bodies = [large_session() for _ in range(LARGE_SESSIONS)]
    large = [await create_running_session(connection, body) for body in bodies]
    broken_id = await create_running_session(connection, small_session())
    for _ in range(LARGE_SWITCHES):
        status, answer = await connection.post(f"/v1/sessions/{large[0]}/switch")
        assert status == 200, answer[:300]
    connection.close()
    return ids, Victims(large[0], bodies[0]["participants"][0]["participant_id"], broken_id)


async def break_session(settings: Settings, session_id: str) -> None:
    """Make the document of a session in Redis invalid."""
    redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
    try:
        key = Keys(settings.key_prefix, settings.partitions).session(session_id)
        await redis.execute_command("HSET", key, "state", "{}")
    finally:
        await redis.aclose()


async def fill_outbox(server: Process, session_id: str, size_mb: int) -> None:
    """Switch a large session until the outbox contains about `size_mb` MB."""
    connection = await HttpConnection.open(server.base_url)
    for _ in range(size_mb * 10 // 7):
        status, answer = await connection.post(f"/v1/sessions/{session_id}/switch")
        assert status == 200, answer[:300]
    connection.close()
