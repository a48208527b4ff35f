"""A running session with a watcher, for tests in which Redis fails or has limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psycopg
from websockets.asyncio.client import ClientConnection, connect

from synckairos.config import Settings
from tests.processes import Process
from tests.waiting import eventually

DEADLINE_S = 20.0


class Conversation:
    """A running session with a watcher, and the version that the session must have."""

    def __init__(self, rest: httpx.AsyncClient, watcher: ClientConnection, settings: Settings, session_id: str) -> None:
        self._rest = rest
        self._watcher = watcher
        self._settings = settings
        self.session_id = session_id
        self.version = 2

    async def command(self, verb: str) -> None:
        """Execute a command when the store is available, and wait until the watcher has the version of the command."""
        headers = {"Idempotency-Key": uuid4().hex}

        async def execute() -> int | None:
            response = await self._rest.post(f"/v1/sessions/{self.session_id}/{verb}", headers=headers)
            assert response.status_code in (200, 503), response.text
            return int(response.json()["data"]["version"]) if response.status_code == 200 else None

        version = await eventually(execute, DEADLINE_S)
        assert version is not None
        self.version = version
        await self.receive_version()

    async def status_of(self, verb: str) -> int:
        """Return the HTTP status of one attempt to execute a command."""
        return (await self._rest.post(f"/v1/sessions/{self.session_id}/{verb}")).status_code

    async def receive_version(self) -> None:
        """Wait until the watcher has the newest version."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message: dict[str, Any] = orjson.loads(await self._watcher.recv())
                if message.get("state", {}).get("version") == self.version:
                    return

    async def start_countdown(self, total_time_ms: int) -> str:
        """Start another session that expires after `total_time_ms`, and return its id."""
        body = {
            "sync_mode": "global",
            "total_time_ms": total_time_ms,
            "participants": [{"participant_id": str(uuid4())}],
        }
        created = (await self._rest.post("/v1/sessions", json=body)).raise_for_status().json()["data"]
        session_id: str = created["session_id"]
        (await self._rest.post(f"/v1/sessions/{session_id}/start")).raise_for_status()
        return session_id

    async def wait_for_expiry(self, session_id: str) -> None:
        """Wait until a session has expired."""

        async def is_expired() -> bool:
            response = await self._rest.get(f"/v1/sessions/{session_id}")
            assert response.status_code in (200, 503), response.text
            return response.status_code == 200 and response.json()["data"]["status"] == "expired"

        await eventually(is_expired, DEADLINE_S)

    async def use_everything(self) -> None:
        """Send requests for the other features: lists, history, time reports, expiry, presence and deletion."""
        person = (await self._rest.get(f"/v1/sessions/{self.session_id}")).json()["data"]["participants"][0]
        countdown_id = await self.start_countdown(1_000)
        for path in (
            "/ready",
            "/metrics",
            "/v1/time",
            "/v1/sessions",
            f"/v1/sessions/{self.session_id}?at=1",
            f"/v1/sessions/{self.session_id}/events",
            f"/v1/participants/{person['participant_id']}/sessions",
            f"/v1/participants/{person['participant_id']}/time",
        ):
            response = await self._rest.get(path)
            assert response.status_code in (200, 404), response.text
        await self.wait_for_expiry(countdown_id)
        (await self._rest.delete(f"/v1/sessions/{countdown_id}")).raise_for_status()

    async def wait_for_audit(self) -> None:
        """Wait until Postgres has the newest version."""

        async def is_written() -> bool:
            async with await psycopg.AsyncConnection.connect(self._settings.database_url) as database:
                query = "SELECT max(version) FROM sync_events WHERE session_id = %s"
                return await (await database.execute(query, [self.session_id])).fetchone() == (self.version,)

        await eventually(is_written, DEADLINE_S)


@asynccontextmanager
async def conversation(server: Process, settings: Settings) -> AsyncIterator[Conversation]:
    """Create and start a session with a watcher on a server. `settings` are those of the server."""
    participants = [{"participant_id": str(uuid4()), "total_time_ms": 300_000} for _ in range(2)]
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as rest:
        body = {"sync_mode": "per_participant", "participants": participants}
        created = (await rest.post("/v1/sessions", json=body)).raise_for_status()
        session_id = created.json()["data"]["session_id"]
        (await rest.post(f"/v1/sessions/{session_id}/start")).raise_for_status()
        async with connect(f"{server.ws_url}?sessionId={session_id}", proxy=None) as watcher:
            talk = Conversation(rest, watcher, settings, session_id)
            await talk.receive_version()
            yield talk
